package h2

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// TestStatusInHead holds that a head with a gRPC status ends its stream itself, also if it is on its way before the answer is
// known to end there: clients of gRPC take no status from a head that another frame ends.
func TestStatusInHead(t *testing.T) {
	_, _, url := front(t, func(_ context.Context, c *engine.Call) bool {
		c.Answer.Begin(200, field.List{{Name: "Content-Type", Value: "application/grpc"}, {Name: "Grpc-Status", Value: "7"}}, 0)
		return c.Answer.Flush() == nil
	})
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: []byte{0x82, 0x84, 0x86, 0x41, 0x01, 'a'}}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if head, ok := frame.(*http2.HeadersFrame); ok {
			if !head.StreamEnded() {
				t.Error("another frame ends the stream")
			}
			return
		}
	}
}
