@0xb5c1a2d3e4f50617;

struct Header {
  name @0 :Text;
  value @1 :Text;
}

struct Payload {
  module @0 :Text;
  headers @1 :List(Header);
  value :union {
    none @2 :Void;
    data @3 :Data;
    text @4 :Text;
  }
}

interface Bench {
  execute @0 (request :Payload) -> (response :Payload);
}
