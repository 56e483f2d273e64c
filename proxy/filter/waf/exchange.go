package waf

import (
	"context"
	"errors"
	"fmt"

	"github.com/corazawaf/coraza/v3/types"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// Exchange is an inspected request whose answer is to be inspected too, in the rule set's phases 3 and 4. It
// belongs to one goroutine and must be closed. Closing it again does nothing.
type Exchange struct {
	engine *corazaEngine
	tx     types.Transaction
	broken bool // after a panic the transaction is in an unknown state and never goes back to the engine's pool
}

// Open inspects a request as Filter does and keeps the inspection open for the answer, for which there are rules
// only if the route inspects answers. With an error there is no Exchange.
func (f *Filter) Open(ctx context.Context, r *proxy.Request, body []byte) (*Exchange, Verdict, error) {
	e, ok := f.engine.(*corazaEngine)
	if !ok {
		return nil, Verdict{}, errEngine
	}
	return e.open(ctx, r, body)
}

// Answer inspects an answer and returns what was found in it. Peek is called if its body is to be inspected, and
// returns all of it or its beginning.
func (x *Exchange) Answer(status int, proto string, header field.List, peek func() ([]byte, error)) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			x.broken, v, err = true, Verdict{}, panicked(p)
		}
	}()
	for i := range header {
		x.tx.AddResponseHeader(header[i].Name, header[i].Value)
	}
	if x.tx.ProcessResponseHeaders(status, proto) == nil {
		if err := x.feed(peek); err != nil {
			return Verdict{}, err
		}
		if _, err := x.tx.ProcessResponseBody(); err != nil {
			return Verdict{}, fmt.Errorf("processing the answer: %w", err)
		}
	}
	x.tx.ProcessLogging()
	return x.engine.verdict(x.tx, answerRules), nil
}

func (x *Exchange) feed(peek func() ([]byte, error)) error {
	if !x.tx.IsResponseBodyAccessible() || !x.tx.IsResponseBodyProcessable() {
		return nil
	}
	body, err := peek()
	if err != nil {
		return err
	}
	if _, n, err := x.tx.WriteResponseBody(body); err != nil || n != len(body) {
		return errors.Join(errPartial, err)
	}
	return nil
}

// Close gives back what the inspection holds.
func (x *Exchange) Close() (err error) {
	if x.broken {
		return nil
	}
	x.broken = true
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	if err := x.tx.Close(); err != nil {
		return fmt.Errorf("closing the inspection: %w", err)
	}
	return nil
}
