import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.zeromq.ZMQ;

/** A child of the interoperability tests: sockets of JeroMQ. The requests are in child_test.go. */
public class Peer {
    static final String[] TYPES = {
        "PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"};
    static final ZMQ.Context context = ZMQ.context(1);
    static final List<ZMQ.Socket> sockets = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        try {
            while (true) {
                byte[][] request = new byte[in.readInt()][];
                for (int i = 0; i < request.length; i++) {
                    request[i] = new byte[in.readInt()];
                    in.readFully(request[i]);
                }
                List<byte[]> answer = new ArrayList<>();
                try {
                    answer.add(bytes("ok"));
                    carryOut(request, answer);
                } catch (Exception e) {
                    answer.clear();
                    answer.add(bytes("error"));
                    answer.add(bytes(e.toString()));
                }
                out.writeInt(answer.size());
                for (byte[] field : answer) {
                    out.writeInt(field.length);
                    out.write(field);
                }
                out.flush();
            }
        } catch (EOFException e) {
            Runtime.getRuntime().halt(0);
        }
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.ISO_8859_1);
    }

    static String text(byte[] b) {
        return new String(b, StandardCharsets.ISO_8859_1);
    }

    static void carryOut(byte[][] request, List<byte[]> answer) throws Exception {
        String name = text(request[0]);
        if (name.equals("open")) {
            int type = 0;
            while (!TYPES[type].equals(text(request[1])))
                type++;
            ZMQ.Socket s = context.socket(type);
            s.setLinger(0);
            for (int i = 2; i < request.length; i += 2)
                set(s, text(request[i]), request[i + 1]);
            sockets.add(s);
            answer.add(bytes(Integer.toString(sockets.size() - 1)));
            return;
        }
        ZMQ.Socket s = sockets.get(Integer.parseInt(text(request[1])));
        boolean xsub = s.getType() == ZMQ.XSUB;
        switch (name) {
            case "bind": s.bind(text(request[2])); break;
            case "connect": s.connect(text(request[2])); break;
            case "subscribe":
                if (xsub)
                    s.send(prefixed(1, request[2]));
                else
                    s.subscribe(request[2]);
                break;
            case "unsubscribe":
                if (xsub)
                    s.send(prefixed(0, request[2]));
                else
                    s.unsubscribe(request[2]);
                break;
            case "send":
                for (int i = 2; i < request.length; i++)
                    if (!s.send(request[i], i < request.length - 1 ? ZMQ.SNDMORE : 0))
                        throw new Exception("not sent: " + s.base().errno());
                break;
            case "recv":
                s.setReceiveTimeOut(Integer.parseInt(text(request[2])));
                byte[] frame = s.recv();
                if (frame == null) {
                    answer.set(0, bytes("nothing"));
                    return;
                }
                answer.add(frame);
                while (s.hasReceiveMore())
                    answer.add(s.recv());
                break;
            case "close": s.close(); break;
            default: throw new Exception("no such request: " + name);
        }
    }

    static byte[] prefixed(int first, byte[] topic) {
        byte[] b = new byte[topic.length + 1];
        b[0] = (byte) first;
        System.arraycopy(topic, 0, b, 1, topic.length);
        return b;
    }

    static void set(ZMQ.Socket s, String option, byte[] value) throws Exception {
        switch (option) {
            case "routing_id": s.setIdentity(value); break;
            case "reconnect_ivl": s.setReconnectIVL(Long.parseLong(text(value))); break;
            case "sndhwm": s.setSndHWM(Long.parseLong(text(value))); break;
            case "rcvhwm": s.setRcvHWM(Long.parseLong(text(value))); break;
            case "xpub_verbose": s.setXpubVerbose(!text(value).equals("0")); break;
            default: throw new Exception("no such option: " + option);
        }
    }
}
