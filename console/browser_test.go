package console

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/hosttest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
)

// TestBrowser drives every page in a real browser (browser/drive.mjs). CONSOLE_PICTURES names a folder for
// pictures; with CONSOLE_EVERY=1 of every page in every size and colour.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: a browser takes long")
	}
	hosttest.Need(t, "node", "chromium")
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		t.Fatal("scripts/deps.sh installs what drives the browser: ", err)
	}
	_, c := newShop(t)
	page, err := c.o.Events.Last(t.Context(), query.Query{Where: both(requests(), query.Is{Field: query.Reason, Value: "no-permit"})}, 1, query.Cursor{})
	if err != nil || len(page.Events) == 0 {
		t.Fatal(page, err)
	}
	server := httptest.NewUnstartedServer(c)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	defer func() {
		stop()
		<-done
	}()
	go func() { // so that there is something to see live
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(2); ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := c.o.Events.(*events.Store).Append(ctx, ofShop(eventtest.New(n, time.Now(), time.Millisecond).Take(3))); err != nil {
					return
				}
			}
		}
	}()
	link, err := c.Link("alice", Admin)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "browser/drive.mjs", server.URL, link, page.Events[0].ID, os.Getenv("CONSOLE_PICTURES"), os.Getenv("CONSOLE_EVERY"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, strings.TrimSpace(string(out)))
	}
}
