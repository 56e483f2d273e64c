package upstream

import (
	"bytes"

	"github.com/palisade-security/palisade/proxy/field"
)

const (
	mostChunkLine  = 512     // bytes of one chunk's size and extensions
	mostExtensions = 4 << 10 // bytes of all extensions of one body
	mostTrailer    = 4 << 10 // bytes of a trailer section
)

// chunks decodes a chunked body (RFC 9112, section 7.1). Extensions are dropped.
type chunks struct {
	left       int64 // bytes left of the current chunk
	open       bool  // the CRLF after a chunk's data is still to come
	extensions int
	trailer    field.List
}

// read gives bytes of the current chunk as they come. Done tells that the trailer is read too.
func (c *chunks) read(b *reader, p []byte) (n int, done bool, err error) {
	if c.left == 0 {
		if err := c.next(b); err != nil {
			return 0, false, err
		}
		if c.left == 0 {
			return 0, true, nil
		}
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err = b.copyOut(p)
	c.left -= int64(n)
	return n, false, err
}

// next goes on to the next chunk; left stays 0 after the last.
func (c *chunks) next(b *reader) error {
	if c.open {
		end, err := b.line(0)
		if err != nil {
			return err
		}
		if len(end) != 0 {
			return malformed("chunk end")
		}
		c.open = false
	}
	line, err := b.line(mostChunkLine)
	if err != nil {
		return err
	}
	size, extension, ok := parseChunkLine(line)
	c.extensions += extension
	if !ok || c.extensions > mostExtensions {
		return malformed("chunk size")
	}
	if size > 0 {
		c.left, c.open = size, true
		return nil
	}
	text, err := b.block(mostTrailer)
	if err != nil {
		return err
	}
	if c.trailer, err = parseFields(text, nil); err != nil {
		return err
	}
	c.trailer.DelFunc(func(f field.Field) bool { return !inTrailer(f.Name) })
	return nil
}

// parseChunkLine parses a size in hexadecimal digits, and counts the bytes after them: padding or extensions.
func parseChunkLine(line []byte) (size int64, extension int, ok bool) {
	digits := 0
	for digits < len(line) && isHexDigit(line[digits]) {
		size = size<<4 | int64(unhex(line[digits]))
		if digits++; digits > 15 {
			return 0, 0, false
		}
	}
	rest := line[digits:]
	padding := len(bytes.Trim(rest, " \t")) == 0
	if digits == 0 || !padding && rest[0] != ';' || !isFieldValue(string(rest)) {
		return 0, 0, false
	}
	return size, len(rest), true
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
