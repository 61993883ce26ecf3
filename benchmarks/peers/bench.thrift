union Value {
  1: binary data,
  2: string text,
}

struct ExecuteRequest {
  1: string module_name,
  2: map<string, string> headers,
  3: optional Value value,
}

struct ExecuteResponse {
  1: string module_name,
  2: map<string, string> headers,
  3: optional Value value,
}

service Bench {
  ExecuteResponse execute(1: ExecuteRequest request),
}
