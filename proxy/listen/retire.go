package listen

import "context"

// Retire makes a running server accept no more, since a successor does. What is connected already stays and is
// served under the bounds it began with, until the client leaves it idle or the context of Run ends: a changed
// setting is no reason to break a stream, an upload or a WebSocket. It must be called at most once.
func (s *Server) Retire() { close(s.retire) }

// outlast waits until every connection has ended, or ctx has.
func (s *Server) outlast(ctx context.Context) {
	select {
	case <-s.ln.allEnded():
	case <-ctx.Done():
	}
}
