package token

import (
	"sync"
	"time"
)

// reuseEntries bounds how many tokens are kept for reuse; beyond it, every token is new.
const reuseEntries = 1 << 14

// reuse keeps tokens for a short time. Its zero value is empty.
type reuse struct {
	mu    sync.Mutex
	kept  map[any]keptToken
	sweep time.Time // when the old were last thrown out
}

type keptToken struct {
	token string
	until time.Time
}

// get returns the token kept for key, or "".
func (r *reuse) get(key any, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.kept[key]; ok && now.Before(k.until) {
		return k.token
	}
	return ""
}

// put keeps a token for the time of reuse, of which at least half its life must be left to spend.
func (r *reuse) put(key any, token string, now, expires time.Time) {
	until := now.Add(transactionReuse)
	if half := now.Add(expires.Sub(now) / 2); half.Before(until) {
		until = half
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.sweep) >= transactionReuse {
		r.sweep = now
		for k, v := range r.kept {
			if !now.Before(v.until) {
				delete(r.kept, k)
			}
		}
	}
	if r.kept == nil {
		r.kept = map[any]keptToken{}
	}
	if len(r.kept) < reuseEntries {
		r.kept[key] = keptToken{token, until}
	}
}
