package main

// One hop of a mesh: the client speaks plainly to the proxy at its side, that one over mutual TLS 1.3 to the proxy of the
// service, and that one plainly to the service. Both ends show a certificate and verify the other's.

const (
	hopCaller = "caller" // the side at which the client is
	hopCallee = "callee" // the side at which the service is

	haproxyBinary = "/usr/sbin/haproxy"
)

// direct is the name of what stands for no proxy at all.
func direct(p protocol) string { return "direct-" + string(p) }

// hopPeers are the two sides of each product, for each protocol. The caller's side has the product's name.
var hopPeers = makeHopPeers()

func makeHopPeers() []peer {
	var out []peer
	for _, speaks := range []protocol{http1, http2, grpc} {
		at := "-" + string(speaks)
		out = append(out, peer{name: direct(speaks), title: "no proxy", speaks: speaks})
		for _, p := range []peer{
			{name: "nginx" + at, title: "nginx on both ends", binary: nginxBinary},
			{name: "nginx-log" + at, title: "nginx on both ends, with access logs", binary: nginxBinary, logs: true},
			{name: "haproxy" + at, title: "HAProxy on both ends", binary: haproxyBinary},
		} {
			p.speaks = speaks
			p.files, p.command = []string{"hop-nginx.conf"}, []string{nginxBinary, "-p", "{{.Dir}}", "-c", "{{.Dir}}/hop-nginx.conf", "-e", "{{.Dir}}/error.log"}
			if p.binary == haproxyBinary {
				p.files, p.command = []string{"hop-haproxy.conf"}, []string{haproxyBinary, "-db", "-q", "-f", "{{.Dir}}/hop-haproxy.conf"}
			}
			callee := p
			p.side, callee.side, callee.name = hopCaller, hopCallee, p.name+"-"+hopCallee
			p.behind = callee.name
			out = append(out, p, callee)
		}
		out = append(out, peer{
			name: "palisade" + at, title: "Palisade: both sidecars, authorisation and a record at each", speaks: speaks, fed: true,
			files: []string{"hop-fed.yaml"}, binary: "{{.Bin}}/palisade",
			command: []string{"{{.Bin}}/palisade", "control", "--quiet", "--state", "{{.Dir}}/state", "{{.Dir}}/hop-fed.yaml"},
		}, peer{
			name: "palisade-up" + at, title: "Palisade: the same and the store of records, in one process", speaks: speaks,
			files: []string{"hop.yaml"}, binary: "{{.Bin}}/palisade", told: "{{.Dir}}/address",
			command: []string{"{{.Bin}}/palisade", "up", "--quiet", "--state", "{{.Dir}}/state", "{{.Dir}}/hop.yaml"},
		})
	}
	return out
}

// hops are measured by scripts/bench-hop.sh.
var hops = []group{
	hopGroup(http1, "HTTP/1.1", shape{method: "GET", target: "/items/42"}),
	hopGroup(http2, "HTTP/2 from the client, HTTP/1.1 to the service", shape{method: "GET", target: "/items/42"}),
	hopGroup(grpc, "gRPC, a unary call; HTTP/2 throughout", shape{method: "POST", target: "/bench.Items/Get", body: call}),
}

// call is the message of a call: an order's number.
const call = "\x0a\x20order-0123456789abcdef0123456789"

func hopGroup(speaks protocol, title string, s shape) group {
	at := "-" + string(speaks)
	return group{
		name: "hop" + at, title: title, shape: s, speaks: speaks, hop: true,
		peers: []string{direct(speaks), "nginx" + at, "nginx-log" + at, "haproxy" + at, "palisade" + at, "palisade-up" + at},
		count: 20000, paced: 2000, perSec: 1000, against: "nginx" + at, conns: connections,
	}
}
