package engine

import (
	"io"
	"time"
)

// bodyReader reads a client's body under deadlines: one for the whole body, or one for each pause within a
// stream. It is the defence against clients that send a byte now and then.
type bodyReader struct {
	x       *exchange
	whole   time.Time // when the whole body must be here; zero until the first read
	renewed time.Time // when the read deadline was last moved
}

func (b *bodyReader) begin(x *exchange) { *b = bodyReader{x: x} }

// Read reads from the client. Errors are the front's own.
func (b *bodyReader) Read(p []byte) (int, error) {
	src := b.x.call.Body
	if src == nil {
		return 0, io.EOF
	}
	now := time.Now()
	if b.whole.IsZero() {
		b.whole = now.Add(b.x.table.Body)
	}
	if b.renewed.IsZero() || now.Sub(b.renewed) > b.x.table.Pause/8 {
		until := now.Add(b.x.table.Pause)
		if !b.x.isStream() && until.After(b.whole) {
			until = b.whole
		}
		b.renewed = now
		b.x.call.Line.ReadBy(until)
	}
	return src.Read(p)
}
