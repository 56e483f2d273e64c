package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// house is a server with one connection, within a bubble of its own time.
type house struct {
	server *Server
	client net.Conn
	read   *bufio.Reader
}

func newHouse(t *testing.T, h engine.HandlerFunc) *house {
	t.Helper()
	s := New(Options{Handler: h, HeaderBytes: 4 << 10, Header: 10 * time.Second, Idle: 60 * time.Second})
	here, there := net.Pipe()
	s.Take(t.Context(), there, engine.NewConn("test", "192.0.2.1:1", nil))
	return &house{s, here, bufio.NewReader(here)}
}

// ends closes the client's side and waits for the server's.
func (h *house) ends(t *testing.T) {
	t.Helper()
	_ = h.client.Close()
	synctest.Wait()
	if h.server.open.Len() != 0 {
		t.Error("the connection is still served")
	}
}

func (h *house) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(h.client, text); err != nil {
		t.Fatalf("sending %q: %v", text, err)
	}
}

func (h *house) receive(t *testing.T) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(h.read, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

// closedAfter returns how long the server takes to close the connection.
func (h *house) closedAfter(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	if b, err := h.read.ReadByte(); err == nil {
		t.Errorf("got %q", b)
	}
	return time.Since(began)
}

func ok(_ context.Context, c *engine.Call) bool {
	c.Answer.Begin(http.StatusOK, nil, 2)
	_, err := c.Answer.Write([]byte("ok"))
	return err == nil
}

func TestHeadInTime(t *testing.T) {
	for name, c := range map[string]struct {
		send []string // with three seconds between
		want time.Duration
	}{
		"nothing":                  {nil, 10 * time.Second},
		"half a head":              {[]string{"GET / HTT", "P/1.1\r\n"}, 7 * time.Second},
		"nothing after a request":  {[]string{get}, 60 * time.Second},
		"a second head begins":     {[]string{get, "G", "E"}, 7 * time.Second},
		"half a head right behind": {[]string{get + "G", "E"}, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, ok)
				for i, text := range c.send {
					if i > 0 {
						time.Sleep(3 * time.Second)
					}
					h.send(t, text)
					if strings.HasPrefix(text, get) {
						h.receive(t)
					}
				}
				if took := h.closedAfter(t); took != c.want {
					t.Errorf("closed after %v, want %v", took, c.want)
				}
				h.ends(t)
			})
		})
	}
}

// TestIdleMovesSeldom holds that the deadline of a busy connection moves although it is not set for each request.
func TestIdleMovesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, ok)
		for range 50 {
			time.Sleep(5 * time.Second)
			h.send(t, get)
			h.receive(t)
		}
		if took := h.closedAfter(t); took > 60*time.Second || took < 52*time.Second {
			t.Errorf("closed after %v", took)
		}
		h.ends(t)
	})
}

func TestContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(_ context.Context, c *engine.Call) bool {
			if c.Target == "/refused" {
				c.Answer.Begin(http.StatusForbidden, nil, 0)
				return true
			}
			body, err := io.ReadAll(c.Body)
			if err != nil {
				t.Error(err)
			}
			c.Answer.Begin(http.StatusOK, nil, int64(len(body)))
			_, err = c.Answer.Write(body)
			return err == nil
		})
		ask := "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
		for range 2 {
			h.send(t, ask)
			if resp := h.receive(t); resp.StatusCode != http.StatusContinue {
				t.Fatalf("got %d", resp.StatusCode)
			}
			h.send(t, "hello")
			resp := h.receive(t)
			if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(body) != "hello" || resp.Close {
				t.Fatalf("got %d %q", resp.StatusCode, body)
			}
		}
		h.send(t, strings.Replace(ask, "/a", "/refused", 1))
		if resp := h.receive(t); resp.StatusCode != http.StatusForbidden || !resp.Close {
			t.Errorf("got %d, to be closed: %t", resp.StatusCode, resp.Close)
		}
		h.ends(t)
	})
}

// TestClientLeaves holds that the context of a request ends when its client goes away, whatever it has sent before.
func TestClientLeaves(t *testing.T) {
	for name, request := range map[string]string{
		"no body": get, "body": post, "chunks": many, "half a body": post[:len(post)-1], "more behind": get + "GET /next",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := false
				h := newHouse(t, func(ctx context.Context, c *engine.Call) bool {
					if c.Body != nil {
						_, _ = io.Copy(io.Discard, c.Body)
					}
					<-ctx.Done()
					left = true
					return false
				})
				h.send(t, request)
				time.Sleep(time.Second)
				if left {
					t.Fatal("the context ended before the client left")
				}
				if name == "more behind" { // a client that sent more may have closed one half only
					_ = h.client.Close()
					synctest.Wait()
					h.server.open.Each((*conn).cut)
				}
				h.ends(t)
				if !left {
					t.Error("the context did not end")
				}
			})
		})
	}
}

// TestSlowAnswer holds that watching the client takes nothing of its next request away.
func TestSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(ctx context.Context, c *engine.Call) bool {
			time.Sleep(time.Second)
			return ctx.Err() == nil && ok(ctx, c)
		})
		h.send(t, get)
		time.Sleep(patience * 2)
		h.send(t, post[:20]) // into the watch
		h.receive(t)
		h.send(t, post[20:]+get)
		h.receive(t)
		h.receive(t)
		h.ends(t)
	})
}

// TestFullDuplex holds that a body can be read while the answer is on its way.
func TestFullDuplex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(_ context.Context, c *engine.Call) bool {
			c.Answer.Begin(http.StatusOK, nil, -1)
			if c.Answer.Flush() != nil {
				return false
			}
			p := make([]byte, 100)
			for {
				n, err := c.Body.Read(p)
				if _, werr := c.Answer.Write(p[:n]); werr != nil || c.Answer.Flush() != nil {
					return false
				}
				if err != nil {
					return errors.Is(err, io.EOF)
				}
			}
		})
		h.send(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		resp, err := http.ReadResponse(h.read, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 5)
		for range 3 {
			h.send(t, "5\r\nhello\r\n")
			if _, err := io.ReadFull(resp.Body, p); err != nil || string(p) != "hello" {
				t.Fatalf("got %q, %v", p, err)
			}
		}
		h.send(t, "0\r\n\r\n")
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("got %q, %v", rest, err)
		}
		h.send(t, get)
		h.ends(t)
	})
}

// TestBodyDeadline holds that a read of the body ends with its deadline, and that one in the past is final.
func TestBodyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(ctx context.Context, c *engine.Call) bool {
			c.Line.ReadBy(time.Now().Add(time.Second))
			began := time.Now()
			go func() { time.Sleep(time.Second / 2); c.Line.ReadBy(past()); c.Line.ReadBy(time.Now().Add(time.Hour)) }()
			_, err := io.ReadAll(c.Body)
			if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() || time.Since(began) != time.Second/2 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			return ok(ctx, c)
		})
		h.send(t, post[:len(post)-1])
		if resp := h.receive(t); !resp.Close {
			t.Error("the connection is to be kept")
		}
		h.ends(t)
	})
}

// TestWriteDeadline holds that a client that takes nothing is cut.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(ctx context.Context, c *engine.Call) bool {
			c.Line.WriteWithin(8 * time.Second)
			return ok(ctx, c)
		})
		h.send(t, get)
		h.receive(t)
		h.send(t, get)
		began := time.Now()
		synctest.Wait()
		time.Sleep(9 * time.Second)
		if _, err := h.read.ReadByte(); err == nil {
			t.Errorf("got an answer after %v", time.Since(began))
		}
		h.ends(t)
	})
}

// TestDrains holds what a drain does to a connection in each state.
func TestDrains(t *testing.T) {
	slow := func(ctx context.Context, c *engine.Call) bool {
		time.Sleep(5 * time.Second)
		return ctx.Err() == nil && ok(ctx, c)
	}
	for name, c := range map[string]struct {
		before, after string
		handler       engine.HandlerFunc
		answers       int // after the drain has begun
		took          time.Duration
		within        time.Duration
	}{
		"idle":           {before: get, handler: ok, within: time.Hour},
		"fresh":          {after: get, handler: ok, answers: 1, within: time.Hour},
		"fresh, silent":  {handler: ok, took: 10 * time.Second, within: time.Hour},
		"in flight":      {after: get, handler: slow, answers: 1, took: 5 * time.Second, within: time.Hour},
		"not in time":    {after: get, handler: slow, took: 5 * time.Second, within: 2 * time.Second},
		"half a request": {before: get, after: post[:20], handler: ok, within: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, c.handler)
				if c.before != "" {
					h.send(t, c.before)
					h.receive(t)
					synctest.Wait()
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.within)
				defer cancel()
				began, ended := time.Now(), make(chan time.Duration, 1)
				go func() { h.server.Drain(ctx); ended <- time.Since(began) }()
				synctest.Wait()
				_, _ = io.WriteString(h.client, c.after) // an idle connection is closed by now
				for range c.answers {
					if resp := h.receive(t); !resp.Close {
						t.Error("the answer does not say that it is the last")
					}
				}
				if _, err := h.read.ReadByte(); err == nil {
					t.Error("there is more")
				}
				if took := <-ended; took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}

// TestSwitch holds that a switched connection is left alone, also by a drain, and is not switched too early.
func TestSwitch(t *testing.T) {
	const upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
	h := func(_ context.Context, c *engine.Call) bool {
		conn, err := c.Line.Switch(field.List{{Name: "Connection", Value: "Upgrade"}, {Name: "Upgrade", Value: "websocket"}})
		if errors.Is(err, engine.ErrEarly) {
			c.Answer.Begin(http.StatusBadRequest, field.List{{Name: "Connection", Value: "close"}}, 0)
			return true
		}
		if err != nil {
			return false
		}
		_, _ = io.CopyN(conn, conn, 5)
		return conn.Close() == nil
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, h)
		h.send(t, upgrade)
		resp, err := http.ReadResponse(h.read, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("got %v, %v", resp, err)
		}
		h.server.Drain(t.Context())
		time.Sleep(time.Hour)
		h.send(t, "hello")
		if p, err := io.ReadAll(h.read); err != nil || string(p) != "hello" {
			t.Errorf("got %q, %v", p, err)
		}
		h.ends(t)
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, h)
		h.send(t, upgrade+"G")
		if resp := h.receive(t); resp.StatusCode != http.StatusBadRequest || !resp.Close {
			t.Errorf("got %v", resp)
		}
		h.ends(t)
	})
}

// TestPanic holds that a defect costs one connection.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(context.Context, *engine.Call) bool { panic("defect") })
		h.send(t, get)
		if took := h.closedAfter(t); took != 0 {
			t.Errorf("closed after %v", took)
		}
		h.ends(t)
	})
}

// TestAtHand tells how much of a body has come with its head, if that is all of it.
func TestAtHand(t *testing.T) {
	for name, c := range map[string]struct {
		head, body string
		late       bool
		atHand     int
	}{
		"with the head":    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", "abc", false, 3},
		"and the next":     {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", "abcGET", false, 3},
		"in part":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", "bc", true, -1},
		"later":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", "abc", true, -1},
		"without a length": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", false, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, func(ctx context.Context, c2 *engine.Call) bool {
					b, can := c2.Body.(interface{ AtHand() int })
					if n := b.AtHand(); !can || n != c.atHand {
						t.Errorf("at hand: %d, expected %d", n, c.atHand)
					}
					if got, err := io.ReadAll(c2.Body); err != nil || string(got) != "abc" {
						t.Errorf("%q, %v", got, err)
					}
					if n := b.AtHand(); n != -1 {
						t.Errorf("at hand after the end: %d", n)
					}
					return ok(ctx, c2)
				})
				if c.late {
					h.send(t, c.head)
					synctest.Wait()
					h.send(t, c.body)
				} else {
					h.send(t, c.head+c.body)
				}
				h.receive(t)
				h.ends(t)
			})
		})
	}
}
