package io.llmchat.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.llmchat.support.TestGateway;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;

/** A pooler between the gateway and PostgreSQL, as PgBouncer before 1.21 is where it pools transactions. */
class PoolerTest {

    /** What ends a question, and an answer, which then says whether it is within a transaction (PostgreSQL manual, 55.7). */
    private static final String SYNC = "S\0\0\0\4";
    private static final String READY = "Z\0\0\0\5";
    private static final int TLS_WANTED = 8;

    @Test
    void aPoolerThatForgetsPreparedStatementsKeepsTheGatewayFromStarting() throws Exception {
        try (ServerSocket pooler = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            int postgresPort = TestGateway.shared().postgresPort();
            Thread.startVirtualThread(() -> {
                try {
                    while (true) {
                        Socket client = pooler.accept();
                        Thread.startVirtualThread(() -> serve(client, postgresPort));
                    }
                } catch (IOException e) {
                    // the test is over
                }
            });
            Postgres postgres = new Postgres();
            postgres.setHost("127.0.0.1");
            postgres.setPort(pooler.getLocalPort());
            postgres.setUser("postgres");
            postgres.setName("postgres");
            postgres.setMaxConnections(1);
            postgres.start();
            try {
                CompletionException refused = assertThrows(CompletionException.class, postgres::dataSource);
                assertEquals("PostgreSQL at 127.0.0.1:" + pooler.getLocalPort() + " cannot be used: what is between forgets prepared statements,"
                        + " or takes one for another. PgBouncer keeps them with pool_mode = session, or, from 1.21 on, with max_prepared_statements.", refused.getCause().getMessage());
            } finally {
                postgres.stop();
            }
        }
    }

    /** Gives each transaction of a client the other one of two connections. */
    private static void serve(Socket client, int postgresPort) {
        try (client; Socket one = new Socket("127.0.0.1", postgresPort); Socket two = new Socket("127.0.0.1", postgresPort)) {
            byte[] begin = some(client.getInputStream());
            if (begin.length == TLS_WANTED) {
                client.getOutputStream().write('N');
                begin = some(client.getInputStream());
            }
            two.getOutputStream().write(begin);
            answers(two.getInputStream(), 1);
            one.getOutputStream().write(begin);
            client.getOutputStream().write(answers(one.getInputStream(), 1));
            Socket now = one;
            while (true) {
                byte[] asked = some(client.getInputStream());
                now.getOutputStream().write(asked);
                // BEGIN comes as text, before what is asked in its transaction
                int questions = (asked[0] == 'Q' ? 1 : 0) + (text(asked).endsWith(SYNC) ? 1 : 0);
                if (questions > 0) {
                    byte[] answers = answers(now.getInputStream(), questions);
                    client.getOutputStream().write(answers);
                    now = answers[answers.length - 1] != 'I' ? now : now == one ? two : one;
                }
            }
        } catch (IOException e) {
            // one of them has ended
        }
    }

    private static byte[] some(InputStream in) throws IOException {
        byte[] bytes = new byte[65_536];
        int length = in.read(bytes);
        if (length < 0) {
            throw new IOException("the end");
        }
        return Arrays.copyOf(bytes, length);
    }

    private static byte[] answers(InputStream in, int number) throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        do {
            all.write(some(in));
        } while (text(all.toByteArray()).split(READY, -1).length <= number);
        return all.toByteArray();
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }
}
