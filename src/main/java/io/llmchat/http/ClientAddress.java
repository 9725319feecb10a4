package io.llmchat.http;

import io.netty.handler.ipfilter.IpFilterRuleType;
import io.netty.handler.ipfilter.IpSubnetFilterRule;
import io.netty.util.NetUtil;
import io.vertx.core.http.HttpServerRequest;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * From which address a request comes: the one that the connection has, or, where that is a proxy which is trusted, what
 * it says in {@code X-Forwarded-For}: the rightmost address there that is not a trusted proxy's itself. What stands left
 * of that can be made up by anybody. Safe for all threads.
 */
public final class ClientAddress {

    private static final String HEADER = "X-Forwarded-For";

    private final List<IpSubnetFilterRule> trusted = new ArrayList<>();

    /**
     * @param trustedProxies addresses and CIDR ranges, comma separated; empty: none
     * @throws IllegalArgumentException if one of them is neither
     */
    public ClientAddress(String trustedProxies) {
        for (String proxy : trustedProxies.split(",")) {
            if (!proxy.isBlank()) {
                trusted.add(rule(proxy.trim()));
            }
        }
    }

    private static IpSubnetFilterRule rule(String proxy) {
        int slash = proxy.indexOf('/');
        InetAddress address = parse(slash < 0 ? proxy : proxy.substring(0, slash));
        if (address == null) {
            throw new IllegalArgumentException("'" + proxy + "' is no address or CIDR range");
        }
        int bits = address.getAddress().length * 8;
        return new IpSubnetFilterRule(address, slash < 0 ? bits : Integer.parseInt(proxy.substring(slash + 1)), IpFilterRuleType.ACCEPT);
    }

    /** Null if the text can be used, else what it takes. */
    public static String refuse(String trustedProxies) {
        try {
            new ClientAddress(trustedProxies);
            return null;
        } catch (IllegalArgumentException e) {
            return "a comma-separated list of addresses and CIDR ranges";
        }
    }

    /** The address, as text; of IPv6 the network of 64 bits, which is one caller's. */
    public String of(HttpServerRequest request) {
        return of(peer(request), forwarded(request));
    }

    /** The address, as text; of IPv6 all of it. */
    public String whole(HttpServerRequest request) {
        return whole(peer(request), forwarded(request));
    }

    private static String peer(HttpServerRequest request) {
        return request.connection().remoteAddress().hostAddress();
    }

    private List<String> forwarded(HttpServerRequest request) {
        return trusted.isEmpty() ? List.of() : request.headers().getAll(HEADER);
    }

    /** The same for the peer of a connection, and what was forwarded. */
    String of(String peer, List<String> forwarded) {
        if (forwarded.isEmpty() && peer.indexOf(':') < 0) {
            return peer;
        }
        InetAddress address = find(peer, forwarded);
        return address == null ? peer : text(address);
    }

    /** The same, of IPv6 all of it. */
    String whole(String peer, List<String> forwarded) {
        InetAddress address = find(peer, forwarded);
        return address == null ? peer : NetUtil.toAddressString(address);
    }

    /** Null if the peer has no address. */
    private InetAddress find(String peer, List<String> forwarded) {
        InetAddress address = parse(peer);
        String[] said = String.join(",", forwarded).split(",");
        for (int i = said.length - 1; i >= 0 && isTrusted(address); i--) {
            InetAddress before = parse(withoutPort(said[i].trim()));
            if (before == null) {
                // the trusted proxy knows no better
                break;
            }
            address = before;
        }
        return address;
    }

    private boolean isTrusted(InetAddress address) {
        return address != null && trusted.stream().anyMatch(rule -> rule.matches(new InetSocketAddress(address, 0)));
    }

    private static String withoutPort(String host) {
        if (host.startsWith("[")) {
            return host.substring(1, Math.max(1, host.indexOf(']')));
        }
        int colon = host.indexOf(':');
        return colon > 0 && colon == host.lastIndexOf(':') ? host.substring(0, colon) : host;
    }

    /** An address that is written as one, not a name; null if it is none. */
    private static InetAddress parse(String text) {
        byte[] bytes = NetUtil.createByteArrayFromIpAddressString(text);
        try {
            // IPv4 in IPv6 becomes IPv4
            return bytes == null ? null : InetAddress.getByAddress(bytes);
        } catch (UnknownHostException e) {
            return null;
        }
    }

    private static String text(InetAddress address) {
        if (!(address instanceof Inet6Address)) {
            return address.getHostAddress();
        }
        byte[] network = address.getAddress();
        Arrays.fill(network, 8, 16, (byte) 0);
        return NetUtil.bytesToIpAddress(network) + "/64";
    }
}
