package main

import (
	"fmt"
	"strings"
)

// group is a set of proxies that are measured in turn with the same requests.
type group struct {
	name    string
	title   string
	peers   []string // names in peers; one that is not installed is left out
	shape   shape
	count   int // requests in flight one after the other, all connections together, per round
	paced   int // requests of the paced part of a round
	perSec  int // pace
	against string
	conns   int  // that send at once
	bare    bool // only proxies that check tokens are sent one
	speaks  protocol
	hop     bool // its proxies stand on both ends of mTLS, and its latencies are told beside those of a direct call
}

// protocol is how clients speak to the proxies of a group.
type protocol string

// The protocols. Streams of HTTP/2 stand for connections, a few on each connection.
const (
	http1TLS protocol = ""     // HTTP/1.1 over TLS
	http1    protocol = "h1"   // HTTP/1.1
	http2    protocol = "h2"   // HTTP/2 with prior knowledge
	grpc     protocol = "grpc" // a unary call of gRPC, over HTTP/2 with prior knowledge
)

// shape is the request that is sent.
type shape struct {
	method, target string
	body           string
}

const (
	host        = "bench.example"
	connections = 64
	inspected   = 8 // connections where every request takes milliseconds: more would only queue
	answerBytes = 1024
)

// groups are measured in this order. The counts keep a round of each proxy at one to three seconds.
var groups = []group{
	{
		name: "plain", title: "TLS proxying, and what identity, policy and limits add to it",
		peers: []string{"nginx", "caddy", "palisade", "palisade-jwt"},
		shape: shape{method: "GET", target: "/items/42"}, count: 20000, paced: 1000, perSec: 500, against: "nginx", conns: connections, bare: true,
	},
	{
		name: "waf-get", title: "Core Rule Set: GET",
		peers: []string{"nginx-modsecurity", "coraza", "palisade-full"},
		shape: shape{method: "GET", target: "/items/42"}, count: 1500, paced: 150, perSec: 50, against: "nginx-modsecurity", conns: inspected,
	},
	{
		name: "waf-args", title: "Core Rule Set: GET with 5 arguments",
		peers: []string{"nginx-modsecurity", "coraza", "palisade-full"},
		shape: shape{method: "GET", target: "/items?q=winter+coat&colour=dark+blue&size=42&sort=price&page=3"}, count: 1000, paced: 150, perSec: 50, against: "nginx-modsecurity", conns: inspected,
	},
	{
		name: "waf-json", title: "Core Rule Set: POST of 1 KiB JSON",
		peers: []string{"nginx-modsecurity", "coraza", "palisade-full"},
		shape: shape{method: "POST", target: "/items", body: order()}, count: 150, paced: 50, perSec: 10, against: "nginx-modsecurity", conns: inspected,
	},
}

func groupNames() []string { return namesOf(groups) }

func hopNames() []string { return namesOf(hops) }

func namesOf(groups []group) []string {
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = g.name
	}
	return out
}

// order is an innocent JSON document of about 1 KiB.
func order() string {
	var b strings.Builder
	b.WriteString(`{"customer":"Ada Lovelace","email":"ada@example.com","address":{"street":"Main Street 5","city":"London","zip":"12345"},"lines":[`)
	for i := range 12 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"A-%04d","name":"wool coat number %d","quantity":%d,"price":%d.99}`, 1000+i, i, i+1, 20+i)
	}
	b.WriteString(`],"note":"please ring twice"}`)
	return b.String()
}

// requests are the bytes of one request per token: what a client with that token sends. An empty token is none.
func (s shape) requests(tokens []string) [][]byte {
	out := make([][]byte, len(tokens))
	for i, t := range tokens {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: application/json\r\nAccept-Language: en-GB,en;q=0.5\r\n", s.method, s.target, host)
		if t != "" {
			b.WriteString("Authorization: Bearer " + t + "\r\n")
		}
		if s.body != "" {
			fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(s.body))
		}
		b.WriteString("\r\n" + s.body)
		out[i] = []byte(b.String())
	}
	return out
}
