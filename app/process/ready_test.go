package process

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/isolate"
)

// TestMissing starts a service that listens at another port than the model says, in a network of its own.
func TestMissing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ours := netip.MustParseAddrPort("127.1.0.1:80")
	g := New([]Spec{{
		Name: "one", Dir: t.TempDir(), Env: os.Environ(), Address: "127.0.0.1:26002", Ready: "/healthz", Free: true,
		Command: []string{self, "listen", "127.0.0.1:26003"},
		Isolate: &isolate.Spec{Listen: []netip.AddrPort{ours}, Folder: t.TempDir()},
	}}, Events{
		Output: func(string, string) {}, Ready: func(string, time.Duration) {},
		Isolated: func(string, *isolate.Pod) error { return nil },
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer g.Stop()
	p := g.running[0]
	var got string
	for !strings.Contains(got, "it listens at") && t.Context().Err() == nil {
		why := p.answers(t.Context())
		if why == nil {
			t.Fatal("it answers where it does not listen")
		}
		got = p.missing(why)
	}
	if want := "GET /healthz at 127.0.0.1:26002 does not succeed (dial tcp 127.0.0.1:26002: connect: connection refused); it listens at 127.0.0.1:26003: change services.one.address, or"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestTableAddress(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:1F90": "127.0.0.1:8080", "00000000:0050": "0.0.0.0:80",
		"00000000000000000000000001000000:0050": "[::1]:80",
		"0000000000000000FFFF00000100007F:0050": "127.0.0.1:80",
		"":                                      "", "01:0050": "", "0100007F:x": "", "zz": "",
	} {
		at, ok := tableAddress(text)
		if ok != (want != "") || ok && at.String() != want {
			t.Errorf("%q: got %s, %t", text, at, ok)
		}
	}
}
