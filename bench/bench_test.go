package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedianAndPercentile(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of three: %v", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four: %v", got)
	}
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(i+1)*time.Microsecond)
	}
	for p, want := range map[int]float64{50: 50, 95: 95, 99: 99, 100: 100} {
		if got := percentile(times, p); got != want {
			t.Errorf("percentile %d: %v", p, got)
		}
	}
}

func TestContentLength(t *testing.T) {
	for head, want := range map[string]int{
		"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n":             1024,
		"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length:  7 \r\n": 7,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n":       -1,
	} {
		got, err := contentLength([]byte(head))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", head, got, err)
		}
	}
}

// A process that burns time shows it.
func TestCPU(t *testing.T) {
	for _, pid := range []int{os.Getpid(), 1} {
		if f, err := stat(pid); err != nil || f[3] == "" {
			t.Errorf("stat of %d: %v, %v", pid, f, err)
		}
	}
	pids, err := descendants(os.Getpid())
	if err != nil || pids[0] != os.Getpid() {
		t.Errorf("descendants: %v, %v", pids, err)
	}
}

func TestReport(t *testing.T) {
	r := &Results{Groups: []*GroupResult{{
		Name: "plain", Title: "Plain <TLS>", Against: "nginx", Pace: 10, Conns: 64,
		Rows: []*RowResult{
			{Peer: "nginx", Title: "nginx", CPU: 20, Ratio: 1, Rounds: []float64{20, 22}},
			{Peer: "palisade", Title: "Palisade", CPU: 40, Ratio: 2, Rounds: []float64{40, 41}},
			{Peer: "palisade-jwt", Title: "Palisade with JWT", CPU: 50, Ratio: 2.5, Rounds: []float64{50, 49}},
		},
	}}}
	d := xml.NewDecoder(strings.NewReader(chart(r)))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
	}
	table := markdown(r)
	for _, want := range []string{"| Palisade | 40.0 | 2.00 |", "cost 9.0 µs"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

func TestConfigurationsRender(t *testing.T) {
	at := place{Dir: "/d", Keys: "/k", Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", Backend: "127.0.0.1:3", Rules: "/r", Bin: "/b", Host: host, Body: "x"}
	for _, p := range slices.Concat(peers, hopPeers) {
		at.Speaks, at.Side, at.Logs = p.speaks, p.side, p.logs
		for _, name := range p.files {
			text, err := configs.ReadFile("testdata/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if got := at.render(string(text), p.name); strings.HasPrefix(got, "rendering:") || strings.Contains(got, "<no value>") {
				t.Errorf("%s of %s: %.200s", name, p.name, got)
			}
		}
	}
	for _, g := range slices.Concat(groups, hops) {
		for _, name := range g.peers {
			if peerNamed(name) == nil {
				t.Errorf("group %s names %q, which is no peer", g.name, name)
			}
		}
	}
}
