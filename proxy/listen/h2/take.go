package h2

import (
	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/h2io"
)

// take does what a frame asks for.
func (c *conn) take(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	c.pinged = false
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.request(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.widen(f)
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if s := c.streams[f.StreamID]; s != nil {
			s.cancelled()
		}
	case *http2.SettingsFrame:
		return c.govern(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.answer(http2.FramePing, f.Data[:])
		}
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // GOAWAY, whose sender ends the connection by itself, and what nobody knows (RFC 9113, section 4.1)
}

// answer acknowledges a frame of the connection. A client that does not read its answers must not ask more.
func (c *conn) answer(t http2.FrameType, payload []byte) error {
	if c.out.Held() > h2io.MostHeld {
		return errHoards
	}
	c.out.Add(t, http2.FlagPingAck, 0, payload) // the same in SETTINGS
	c.out.FlushBeside()
	return nil
}

// govern takes over the client's settings.
func (c *conn) govern(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.out.TableSize(s.Val)
		case http2.SettingMaxFrameSize:
			c.out.Frame = min(int(s.Val), h2io.FrameBytes)
		case http2.SettingInitialWindowSize:
			more := int64(s.Val) - c.peerWindow
			c.peerWindow = int64(s.Val)
			for _, st := range c.streams {
				if st.window += more; st.window > h2io.MostWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				st.wake.Broadcast()
			}
		default: // the others say what is done anyway
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.answer(http2.FrameSettings, nil)
}

// widen lets more be sent.
func (c *conn) widen(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > h2io.MostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		if c.out.Waiting > 0 {
			c.wakeAll()
		}
		return nil
	}
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return nil
	}
	if s.window += int64(f.Increment); s.window > h2io.MostWindow {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	s.wake.Broadcast()
	return nil
}

// data hands content to its stream.
func (c *conn) data(f *http2.DataFrame) error {
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	length := int64(f.Length)
	if c.toRead -= length; c.toRead < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s := c.streams[f.StreamID]
	if s == nil || s.ended || s.gone {
		c.credit(length)
		if s != nil && s.gone && !s.over {
			return nil // it was on its way when the stream was reset
		}
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	content := f.Data()
	if s.toRead -= length; s.toRead < 0 {
		c.credit(length)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	if padding := length - int64(len(content)); padding > 0 {
		s.credit(padding)
	}
	s.came += int64(len(content))
	if s.call.Length >= 0 && (s.came > s.call.Length || f.StreamEnded() && s.came < s.call.Length) {
		c.credit(int64(len(content))) // nobody reads more than was announced
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	_, _ = s.content.Write(content) // a buffer does not fail
	s.ended = f.StreamEnded()
	s.wake.Broadcast()
	return nil
}

// request begins a stream, or ends the content of one with trailers.
func (c *conn) request(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if f.HasPriority() && f.Priority.StreamDep == id {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	if id <= c.last {
		return c.trailers(f)
	}
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.last = id
	switch {
	case c.leaving:
		return nil // it has been told
	case len(c.streams) >= mostStreams:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	s := &stream{c: c, id: id, window: c.peerWindow, toRead: streamWindow, ended: f.StreamEnded(), left: -1}
	s.wake.L, s.scope.Context = &c.mu, c.ctx
	if err := s.understand(f); err != nil {
		return err
	}
	c.streams[id] = s
	c.fresh = append(c.fresh, s)
	return nil
}

// begun lets streams be served that have begun. Their content, if it came together with their head, is there then.
func (c *conn) begun() {
	for _, s := range c.fresh {
		select {
		case c.work <- s: // to one that waits
		default:
			c.served.Go(func() { c.serveAll(s) })
		}
	}
	clear(c.fresh)
	c.fresh = c.fresh[:0]
}

// trailers take the field section behind a request's content. Nobody has authorised its fields: they go no further.
func (c *conn) trailers(f *http2.MetaHeadersFrame) error {
	s := c.streams[f.StreamID]
	switch {
	case s == nil || s.over:
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case s.gone:
		return nil
	case s.ended:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
	case !f.StreamEnded() || len(f.PseudoFields()) > 0 || s.call.Length >= 0 && s.came < s.call.Length:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	s.ended = true
	s.wake.Broadcast()
	return nil
}

// understand makes a call of a field section (RFC 9113, section 8.3.1).
func (s *stream) understand(f *http2.MetaHeadersFrame) error {
	k := &s.call
	k.Conn, k.Answer, k.Line, k.Proto = s.c.facts, s, s, "HTTP/2.0"
	k.Method = f.PseudoValue("method")
	if f.Truncated {
		k.Refused = &canon.Refusal{Code: canon.CodeHeaderTooLarge, Text: "the request's header is larger than the limit", Kind: proxy.KindHeaderTooLarge}
		return nil
	}
	k.Target, k.Host = f.PseudoValue("path"), f.PseudoValue("authority")
	scheme := f.PseudoValue("scheme")
	switch {
	case k.Method == "CONNECT" && k.Target == "" && scheme == "" && k.Host != "":
		k.Target = k.Host // as over HTTP/1.1
	case k.Method == "" || k.Target == "" || scheme != "http" && scheme != "https", f.PseudoValue("protocol") != "":
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	regular := f.RegularFields()
	k.Header = make(field.List, len(regular))
	k.Length = -1
	for i, h := range regular {
		k.Header[i] = field.Field{Name: h2io.Canonical(h.Name), Value: h.Value}
		switch h.Name {
		case "host":
			if k.Host == "" {
				k.Host = h.Value
			}
		case "content-length":
			k.Length = lengthOf(h.Value)
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade": // RFC 9113, section 8.2.2
			return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
		case "te":
			if h.Value != "trailers" {
				return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
			}
		}
	}
	if s.ended {
		k.Length = 0
		return nil
	}
	k.Body = s
	return nil
}

// lengthOf is what a Content-Length says; one that is not plain is refused later, where all refusals are made.
func lengthOf(v string) int64 {
	if v == "" || len(v) > 18 {
		return -1
	}
	n := int64(0)
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return -1
		}
		n = 10*n + int64(v[i]-'0')
	}
	return n
}
