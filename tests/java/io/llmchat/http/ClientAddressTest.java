package io.llmchat.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ClientAddressTest {

    private static final ClientAddress BEHIND = new ClientAddress("10.0.0.0/8, 192.0.2.7, 2001:db8:ffff::/48");

    @ParameterizedTest
    @CsvSource(delimiter = '|', nullValues = "none", value = {
        // peer          | X-Forwarded-For                     | address
        "203.0.113.5     | none                                | 203.0.113.5",
        "203.0.113.5     | 198.51.100.1                        | 203.0.113.5",
        "10.1.2.3        | 198.51.100.1                        | 198.51.100.1",
        "10.1.2.3        | 1.1.1.1, 198.51.100.1               | 198.51.100.1",
        "10.1.2.3        | 1.1.1.1, 198.51.100.1, 10.9.9.9     | 198.51.100.1",
        "192.0.2.7       | 198.51.100.1:4711                   | 198.51.100.1",
        "192.0.2.8       | 198.51.100.1                        | 192.0.2.8",
        "10.1.2.3        | 10.0.0.9                            | 10.0.0.9",
        "10.1.2.3        | unknown                             | 10.1.2.3",
        "10.1.2.3        | 198.51.100.1, nonsense              | 10.1.2.3",
        "::ffff:10.1.2.3 | 198.51.100.1                        | 198.51.100.1",
        "2001:db8:ffff:0:0:0:0:1 | [2001:db8:1:2:aaaa::1]:443  | 2001:db8:1:2::/64",
        "10.1.2.3        | [2001:db8:1:2:aaaa::1               | 10.1.2.3",
        "10.1.2.3        | 2001:db8:1:2:aaaa::1                | 2001:db8:1:2::/64",
        "2001:db8:5:6:7:8:9:a | none                           | 2001:db8:5:6::/64",
        "2001:db8:5:6:7:8:9:a | 198.51.100.1                   | 2001:db8:5:6::/64"})
    void onlyATrustedProxyIsBelieved(String peer, String forwarded, String address) {
        assertEquals(address, BEHIND.of(peer, forwarded == null ? List.of() : List.of(forwarded)));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', nullValues = "none", value = {
        "203.0.113.5          | 198.51.100.1                | 203.0.113.5",
        "10.1.2.3             | 1.1.1.1, 198.51.100.1:4711  | 198.51.100.1",
        "10.1.2.3             | [2001:db8:1:2:aaaa::1]:443  | 2001:db8:1:2:aaaa::1",
        "2001:db8:5:6:7:8:9:a | none                        | 2001:db8:5:6:7:8:9:a",
        "::ffff:203.0.113.5   | none                        | 203.0.113.5"})
    void whereItIsNotedNothingIsCutOff(String peer, String forwarded, String address) {
        assertEquals(address, BEHIND.whole(peer, forwarded == null ? List.of() : List.of(forwarded)));
    }

    @Test
    void severalHeadersAreOneList() {
        assertEquals("198.51.100.1", BEHIND.of("10.1.2.3", List.of("1.1.1.1", "198.51.100.1, 10.0.0.2")));
    }

    @Test
    void withoutTrustedProxiesNobodyIsBelieved() {
        assertEquals("127.0.0.1", new ClientAddress("").of("127.0.0.1", List.of("198.51.100.1")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"proxy.example.com", "10.0.0.0/33", "10.0.0.0/x", "10.0.0", "::1/200"})
    void whatIsNoAddressIsRefused(String proxies) {
        assertNotNull(ClientAddress.refuse(proxies));
    }

    @Test
    void addressesAndRangesAreTaken() {
        assertNull(ClientAddress.refuse("127.0.0.1, 10.0.0.0/8,::1,fd00::/8"));
    }
}
