package event

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// The bounds of a memo.
const (
	memoTexts = 64 // a power of two
	memoBytes = 512
)

// memo remembers texts that hold nothing to redact, for those that come with nearly every request: user agents, and reasons. What
// was redacted is not kept. It is safe for concurrent use.
type memo struct {
	seed  maphash.Seed
	texts [memoTexts]atomic.Pointer[string]
}

// encoded is that of r, for a text that comes again and again.
func (m *memo) encoded(r *Redactor, s string) string {
	if len(s) < len("Bearer x") || len(s) > memoBytes {
		return r.encoded(s)
	}
	slot := &m.texts[maphash.String(m.seed, s)%memoTexts]
	if known := slot.Load(); known != nil && *known == s {
		return s
	}
	clean := r.encoded(s)
	if clean == s {
		own := strings.Clone(s) // s may be part of a head that holds secrets
		slot.Store(&own)
	}
	return clean
}
