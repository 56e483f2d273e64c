package console

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/hosttest"
	"github.com/palisade-security/palisade/model"
)

// largeFleet is how many services a fleet has a fleet that nobody draws whole.
const largeFleet = 5000

// TestLargeMapInBrowser looks at the map of 5,000 services of 120 owners in a real browser (browser/large.mjs). CONSOLE_PICTURES names a folder
// for pictures.
func TestLargeMapInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: a browser takes long")
	}
	hosttest.Need(t, "node", "chromium")
	now := time.Now()
	var calls []*event.Event
	for i := 1; i < largeFleet; i++ {
		at := now.Add(-time.Duration(i) * time.Millisecond)
		calls = append(calls, &event.Event{
			Time: at, ID: event.NewID(at), Fleet: "shop", Side: event.SideInbound, Method: "GET", Scheme: "https", Host: name(i), Path: "/", Proto: "HTTP/2.0",
			Workload: "spiffe://shop.example/service/" + name((i-1)/7), Service: name(i), Status: 200, Allowed: true, Took: time.Millisecond,
		})
	}
	shop, c := newShop(t, calls...)
	shop.snap.Services, shop.snap.Routes = nil, nil
	for i := range largeFleet {
		one := model.ResolvedService{Name: name(i), Owner: fmt.Sprintf("team-%02d", i%120), Address: "http://10.0.0.1:80", ID: "spiffe://shop.example/service/" + name(i)}
		if i > 0 {
			one.Callers = []string{name((i - 1) / 7)}
		}
		shop.snap.Services = append(shop.snap.Services, one)
	}
	server := httptest.NewUnstartedServer(c)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	link, err := c.Link("alice", Viewer)
	must(t, err)
	out, err := exec.CommandContext(t.Context(), "node", "browser/large.mjs", server.URL, link, os.Getenv("CONSOLE_PICTURES")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func name(i int) string { return fmt.Sprintf("svc-%04d", i) }
