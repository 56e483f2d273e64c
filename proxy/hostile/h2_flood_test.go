package hostile_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// drain reads and forgets what the front says, so that only what it does counts. Wait for it after closing.
func (c *h2) drain(wg *sync.WaitGroup) {
	wg.Go(func() { _, _ = io.Copy(io.Discard, c.conn) })
}

// untilCut calls send until it fails or has been called most times, and reports whether it failed.
func untilCut(most int, send func(i int) error) (int, bool) {
	for i := range most {
		if send(i) != nil {
			return i, true
		}
	}
	return most, false
}

// TestHTTP2Floods sends what has brought down servers of HTTP/2, from several connections at once.
func TestHTTP2Floods(t *testing.T) { eachHTTP2(t, testFloods) }

func testFloods(t *testing.T, inside bool) {
	const conns = 3 // times 128 streams is less than the service takes at once
	large := ok(strings.Repeat("x", 1<<20))
	page := make([]byte, 16<<10)
	for _, c := range []struct {
		name     string
		mustCut  bool // the front must end the connection before the last send
		most     int
		settings []http2.Setting
		send     func(c *h2, i int) error
	}{
		{"rapid reset (CVE-2023-44487)", false, 20_000, nil, func(c *h2, i int) error {
			stream := uint32(2*i + 1)
			if err := c.send(stream, c.request("GET", "/a"), ""); err != nil {
				return err
			}
			return c.WriteRSTStream(stream, http2.ErrCodeCancel)
		}},
		{"resets provoked from the front (CVE-2025-8671)", false, 20_000, nil, func(c *h2, i int) error {
			stream := uint32(2*i + 1)
			if err := c.send(stream, c.request("GET", "/a"), ""); err != nil {
				return err
			}
			return c.WriteWindowUpdate(stream, 0)
		}},
		{"CONTINUATION flood (CVE-2024-27316)", true, 20_000, nil, func(c *h2, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("GET", "/a"), EndStream: true})
			}
			return c.WriteContinuation(1, false, c.block("x-"+itoa(i), strings.Repeat("a", 8<<10)))
		}},
		// Frames without content cost the sender as much as the front, and no memory: they are not cut.
		{"CONTINUATION flood without fields", false, 200_000, nil, func(c *h2, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("GET", "/a"), EndStream: true})
			}
			return c.WriteContinuation(1, false, nil)
		}},
		{"SETTINGS flood (CVE-2019-9515)", false, 50_000, nil, func(c *h2, i int) error {
			return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
		}},
		{"PING flood (CVE-2019-9512)", false, 50_000, nil, func(c *h2, _ int) error { return c.WritePing(false, [8]byte{}) }},
		{"PRIORITY flood", false, 50_000, nil, func(c *h2, i int) error {
			return c.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3)})
		}},
		{"empty DATA flood (CVE-2019-9518)", false, 50_000, nil, func(c *h2, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("POST", "/a"), EndHeaders: true})
			}
			return c.WriteData(1, false, nil)
		}},
		{"DATA beyond the window and the body limit", false, 5_000, nil, func(c *h2, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("POST", "/a"), EndHeaders: true})
			}
			return c.WriteData(1, false, page)
		}},
		{"more streams than permitted", false, 5_000, nil, func(c *h2, i int) error {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: c.request("POST", "/a"), EndHeaders: true})
		}},
		{"no window for answers", false, 128, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(c *h2, i int) error {
			return c.send(uint32(2*i+1), c.request("GET", "/large"), "")
		}},
		{"HPACK bomb", false, 20, nil, func(c *h2, i int) error {
			// One large field enters the table; each further mention of it is one byte.
			fields := []string{":method", "GET", ":scheme", "https", ":authority", host, ":path", "/a"}
			for range 4000 {
				fields = append(fields, "x-bomb", strings.Repeat("b", 3000))
			}
			return c.send(uint32(2*i+1), c.block(fields...), "")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := hurried(func(r *http.Request, b []byte) string {
				if r.URL.Path == "/large" {
					return large
				}
				return say(r, b)
			})
			b.inside = inside
			f := newFront(t, b)
			f.during(t, func(full func()) {
				var floods, reads sync.WaitGroup
				var mu sync.Mutex
				sent, cuts := 0, 0
				all := make([]*h2, conns)
				for i := range all {
					all[i] = f.h2(t, c.settings...)
					all[i].drain(&reads)
				}
				for _, conn := range all {
					floods.Go(func() {
						n, cut := untilCut(c.most, func(i int) error { return c.send(conn, i) })
						mu.Lock()
						defer mu.Unlock()
						sent += n
						if cut {
							cuts++
						}
					})
				}
				floods.Wait()
				full()
				f.settle(t)
				t.Logf("%d frames or requests sent over %d connections, %d of them cut", sent, conns, cuts)
				if c.mustCut && cuts != conns {
					t.Errorf("%d of %d connections were cut", cuts, conns)
				}
				for _, conn := range all {
					_ = conn.conn.Close()
				}
				reads.Wait()
			})
		})
	}
}
