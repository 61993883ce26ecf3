// Java's avro-ipc as client and as server, told what to do by JSON lines (see peer.py).
// Started from its source: java -cp 'lib/*' Peer.java

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.callback.PasswordCallback;
import javax.security.sasl.Sasl;
import javax.security.sasl.SaslClient;
import org.apache.avro.AvroRemoteException;
import org.apache.avro.Protocol;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.ipc.CallFuture;
import org.apache.avro.ipc.HttpTransceiver;
import org.apache.avro.ipc.RPCContext;
import org.apache.avro.ipc.RPCPlugin;
import org.apache.avro.ipc.SaslSocketServer;
import org.apache.avro.ipc.SaslSocketTransceiver;
import org.apache.avro.ipc.Server;
import org.apache.avro.ipc.SocketServer;
import org.apache.avro.ipc.SocketTransceiver;
import org.apache.avro.ipc.Transceiver;
import org.apache.avro.ipc.generic.GenericRequestor;
import org.apache.avro.ipc.generic.GenericResponder;
import org.apache.avro.ipc.jetty.HttpServer;
import org.apache.avro.ipc.netty.NettyServer;
import org.apache.avro.ipc.netty.NettyTransceiver;

public class Peer {
  static final JsonNodeFactory JSON = JsonNodeFactory.instance;
  static final ObjectMapper MAPPER = new ObjectMapper();
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  static synchronized void say(JsonNode said) {
    OUT.println(said);
  }

  // JSON to what GenericData takes, and back.

  static Object fromJson(Schema schema, JsonNode value) throws Exception {
    switch (schema.getType()) {
      case RECORD:
        GenericData.Record record = new GenericData.Record(schema);
        for (Schema.Field field : schema.getFields()) {
          JsonNode given = value.get(field.name());
          record.put(field.pos(), given != null ? fromJson(field.schema(), given)
              : GenericData.get().getDefaultValue(field));
        }
        return record;
      case ARRAY:
        List<Object> list = new ArrayList<>();
        for (JsonNode each : value) list.add(fromJson(schema.getElementType(), each));
        return list;
      case MAP:
        Map<String, Object> map = new HashMap<>();
        for (Iterator<String> names = value.fieldNames(); names.hasNext();) {
          String name = names.next();
          map.put(name, fromJson(schema.getValueType(), value.get(name)));
        }
        return map;
      case UNION:
        for (Schema branch : schema.getTypes()) {
          if (fits(branch, value)) return fromJson(branch, value);
        }
        throw new IllegalArgumentException("no branch for " + value);
      case ENUM:
        return new GenericData.EnumSymbol(schema, value.asText());
      case FIXED:
        return new GenericData.Fixed(schema, value.get("$bytes").binaryValue());
      case BYTES:
        return ByteBuffer.wrap(value.get("$bytes").binaryValue());
      case STRING:
        return value.asText();
      case INT:
        return value.asInt();
      case LONG:
        return value.asLong();
      case FLOAT:
        return (float) value.asDouble();
      case DOUBLE:
        return value.asDouble();
      case BOOLEAN:
        return value.asBoolean();
      default:
        return null;
    }
  }

  static boolean fits(Schema branch, JsonNode value) {
    switch (branch.getType()) {
      case NULL: return value.isNull();
      case BYTES: case FIXED: return value.has("$bytes");
      case STRING: case ENUM: return value.isTextual();
      case RECORD: case MAP: return value.isObject() && !value.has("$bytes");
      case ARRAY: return value.isArray();
      case BOOLEAN: return value.isBoolean();
      default: return value.isNumber();
    }
  }

  static JsonNode bytes(byte[] bytes) {
    return JSON.objectNode().set("$bytes", JSON.binaryNode(bytes));
  }

  static byte[] rest(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return bytes;
  }

  static JsonNode toJson(Object value) {
    if (value == null) return JSON.nullNode();
    if (value instanceof GenericRecord) {
      ObjectNode node = JSON.objectNode();
      GenericRecord record = (GenericRecord) value;
      for (Schema.Field field : record.getSchema().getFields()) node.set(field.name(), toJson(record.get(field.pos())));
      return node;
    }
    if (value instanceof GenericData.Fixed) return bytes(((GenericData.Fixed) value).bytes());
    if (value instanceof ByteBuffer) return bytes(rest((ByteBuffer) value));
    if (value instanceof Map) {
      ObjectNode node = JSON.objectNode();
      ((Map<?, ?>) value).forEach((key, each) -> node.set(key.toString(), toJson(each)));
      return node;
    }
    if (value instanceof Iterable) {
      ArrayNode node = JSON.arrayNode();
      for (Object each : (Iterable<?>) value) node.add(toJson(each));
      return node;
    }
    if (value instanceof Integer) return JSON.numberNode((Integer) value);
    if (value instanceof Long) return JSON.numberNode((Long) value);
    if (value instanceof Double) return JSON.numberNode((Double) value);
    if (value instanceof Float) return JSON.numberNode((Float) value);
    if (value instanceof Boolean) return JSON.booleanNode((Boolean) value);
    return JSON.textNode(value.toString());
  }

  // Calling.

  static void trust(File authority) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (FileInputStream pem = new FileInputStream(authority)) {
      store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(pem));
    }
    TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    managers.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, managers.getTrustManagers(), null);
    HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
  }

  static SaslClient plain(JsonNode command) throws Exception {
    return Sasl.createSaslClient(new String[] {"PLAIN"}, null, "avro", "localhost", new HashMap<>(), callbacks -> {
      for (Callback each : callbacks) {
        if (each instanceof NameCallback) ((NameCallback) each).setName(command.get("name").asText());
        else ((PasswordCallback) each).setPassword(command.get("password").asText().toCharArray());
      }
    });
  }

  static class Client {
    final Protocol protocol;
    final Transceiver transceiver;
    final GenericRequestor requestor;
    JsonNode metadata = JSON.objectNode();
    ObjectNode answer = JSON.objectNode();

    Client(JsonNode command) throws Exception {
      protocol = Protocol.parse(new File(command.get("protocol").asText()));
      InetSocketAddress where = new InetSocketAddress(command.get("host").asText(), command.get("port").asInt());
      switch (command.get("transport").asText()) {
        case "netty": transceiver = new NettyTransceiver(where); break;
        case "sasl": transceiver = new SaslSocketTransceiver(where); break;
        case "sasl-plain": transceiver = new SaslSocketTransceiver(where, plain(command)); break;
        case "socket": transceiver = new SocketTransceiver(where); break;
        case "netty-tls": {
          SslContext trusting = SslContextBuilder.forClient().trustManager(new File(command.get("ca").asText())).build();
          transceiver = new NettyTransceiver(where, 20000, channel -> channel.pipeline().addFirst(
              trusting.newHandler(channel.alloc(), "localhost", where.getPort())), null);
          break;
        }
        default:
          if (command.has("ca")) {
            trust(new File(command.get("ca").asText()));
          }
          transceiver = new HttpTransceiver(
            new URL(command.get("transport").asText(), where.getHostString(), where.getPort(), command.get("resource").asText()));
      }
      requestor = new GenericRequestor(protocol, transceiver);
      requestor.addRPCPlugin(new RPCPlugin() {
        @Override public void clientSendRequest(RPCContext context) {
          for (Iterator<String> names = metadata.fieldNames(); names.hasNext();) {
            String name = names.next();
            try {
              context.requestCallMeta().put(name, ByteBuffer.wrap(metadata.get(name).get("$bytes").binaryValue()));
            } catch (java.io.IOException error) {
              throw new RuntimeException(error);
            }
          }
        }

        @Override public void clientReceiveResponse(RPCContext context) {
          ObjectNode seen = JSON.objectNode();
          Map<?, ByteBuffer> read = context.responseCallMeta(); // its keys are no String, whatever it is declared to be
          read.forEach((name, value) -> seen.set(name.toString(), bytes(rest(value))));
          answer = seen;
        }
      });
    }

    GenericRecord parameters(String message, JsonNode params) throws Exception {
      return (GenericRecord) fromJson(protocol.getMessages().get(message).getRequest(), params);
    }

    ObjectNode call(JsonNode command) throws Exception {
      metadata = command.get("metadata");
      answer = JSON.objectNode();
      String message = command.get("message").asText();
      ObjectNode said;
      try {
        Object value = requestor.request(message, parameters(message, command.get("params")));
        said = JSON.objectNode();
        said.set("value", toJson(value));
      } catch (Exception error) {
        said = failure(error);
      }
      said.set("metadata", answer);
      return said;
    }

    ObjectNode burst(JsonNode command) throws Exception {
      metadata = JSON.objectNode();
      String message = command.get("message").asText();
      List<CallFuture<Object>> futures = new ArrayList<>();
      for (JsonNode params : command.get("list")) {
        CallFuture<Object> future = new CallFuture<>();
        requestor.request(message, parameters(message, params), future);
        futures.add(future);
      }
      ArrayNode answers = JSON.arrayNode();
      for (CallFuture<Object> future : futures) answers.addObject().set("value", toJson(future.get()));
      return (ObjectNode) JSON.objectNode().set("answers", answers);
    }
  }

  static ObjectNode failure(Throwable error) {
    ObjectNode node = JSON.objectNode();
    if (error instanceof java.util.concurrent.ExecutionException) error = error.getCause();
    if (error instanceof AvroRemoteException && ((AvroRemoteException) error).getValue() instanceof GenericRecord) {
      GenericRecord record = (GenericRecord) ((AvroRemoteException) error).getValue();
      ObjectNode declared = node.putObject("declared");
      declared.put("name", record.getSchema().getFullName());
      declared.set("fields", toJson(record));
    } else {
      node.put("system", String.valueOf(error.getMessage()));
    }
    return node;
  }

  // Serving.

  static class Depot extends GenericResponder {
    private final ThreadLocal<Map<String, ByteBuffer>> seen = new ThreadLocal<>();

    Depot(Protocol protocol) {
      super(protocol);
      addRPCPlugin(new RPCPlugin() {
        @Override public void serverReceiveRequest(RPCContext context) {
          seen.set(context.requestCallMeta());
        }

        @Override public void serverSendResponse(RPCContext context) {
          if (context.getMessage() != null && context.getMessage().getName().equals("seen")) {
            context.responseCallMeta().put("answered", ByteBuffer.wrap("yes".getBytes(StandardCharsets.UTF_8)));
          }
        }
      });
    }

    GenericRecord error(String name, Object... fields) {
      GenericRecord record = new GenericData.Record(getLocal().getType(name));
      for (int i = 0; i < fields.length; i += 2) record.put((String) fields[i], fields[i + 1]);
      return record;
    }

    @Override @SuppressWarnings("unchecked")
    public Object respond(Protocol.Message message, Object request) throws Exception {
      GenericRecord params = (GenericRecord) request;
      switch (message.getName()) {
        case "reserve":
          GenericRecord item = (GenericRecord) params.get("item");
          int count = (Integer) item.get("count");
          if (count == 13) throw new AvroRemoteException(error("com.acme.Refused", "reason", "thirteen"));
          if (count > 10) {
            throw new AvroRemoteException(error("com.acme.OutOfStock", "sku", item.get("sku"), "left", 10));
          }
          List<Object> labels = new ArrayList<>((List<Object>) item.get("labels"));
          labels.add("reserved");
          item.put("labels", labels);
          if (item.get("sku").toString().equals("B2")) item.put("note", "second shelf");
          return item;
        case "add": return (Long) params.get("a") + (Long) params.get("b");
        case "blob": return params.get("data");
        case "fail": throw new IllegalStateException(params.get("how").toString());
        case "seen": return seen.get();
        case "tell":
          ObjectNode event = JSON.objectNode();
          event.put("event", "told").put("text", params.get("text").toString());
          say(event);
          return null;
        default: throw new IllegalArgumentException(message.getName());
      }
    }
  }

  static Server serve(JsonNode command) throws Exception {
    Depot depot = new Depot(Protocol.parse(new File(command.get("protocol").asText())));
    InetSocketAddress where = new InetSocketAddress("127.0.0.1", 0);
    Server server;
    switch (command.get("transport").asText()) {
      case "netty": server = new NettyServer(depot, where); break;
      case "sasl": server = new SaslSocketServer(depot, where); break;
      case "socket": server = new SocketServer(depot, where); break;
      default: server = new HttpServer(depot, "127.0.0.1", 0);
    }
    server.start();
    return server;
  }

  static final List<Client> CLIENTS = new ArrayList<>();
  static final List<Server> SERVERS = new ArrayList<>();

  static ObjectNode run(JsonNode command) throws Exception {
    int on = command.path("on").asInt();
    switch (command.get("do").asText()) {
      case "open":
        CLIENTS.add(new Client(command));
        return JSON.objectNode().put("ok", CLIENTS.size() - 1);
      case "call": return CLIENTS.get(on).call(command);
      case "burst": return CLIENTS.get(on).burst(command);
      case "close":
        CLIENTS.get(on).transceiver.close();
        return JSON.objectNode().put("ok", true);
      case "serve":
        SERVERS.add(serve(command));
        return JSON.objectNode().put("ok", SERVERS.size() - 1).put("port", SERVERS.get(SERVERS.size() - 1).getPort());
      case "stop":
        new Thread(SERVERS.get(on)::close).start(); // Netty's takes four seconds
        return JSON.objectNode().put("ok", true);
      default: throw new IllegalArgumentException(command.toString());
    }
  }

  public static void main(String[] args) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode command = MAPPER.readTree(line);
      ObjectNode answer;
      try {
        answer = run(command);
      } catch (Throwable error) {
        error.printStackTrace();
        answer = JSON.objectNode().put("broken", error.toString());
      }
      answer.set("id", command.get("id"));
      say(answer);
    }
    System.exit(0);
  }
}
