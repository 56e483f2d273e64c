package console

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// How long what opens the console lasts.
const (
	LinkLife = 5 * time.Minute  // of a one-time link
	idleLife = 30 * time.Minute // of a session that nobody uses
	mostLife = 12 * time.Hour   // of a session
)

// The bounds of what is held in memory. The oldest makes room.
const (
	mostLinks    = 32
	mostSessions = 1000
)

// secret is a hash of what a browser holds; nothing here holds that itself.
type secret [sha256.Size]byte

func hashed(s string) secret { return sha256.Sum256([]byte(s)) }

// session is somebody who signed in.
type session struct {
	who   string
	role  Role
	token string // that forms carry
	since time.Time
	used  time.Time
	ends  time.Time // when what it was opened with ends; zero: it does not
}

type link struct {
	who  string
	role Role
	ends time.Time
}

// door knows who is signed in. It forgets everything when the process ends.
type door struct {
	mu       sync.Mutex
	sessions map[secret]*session
	links    map[secret]link
	told     time.Time // when a refusal was last recorded
	omitted  int64     // since then
}

func newDoor() *door { return &door{sessions: map[secret]*session{}, links: map[secret]link{}} }

// link makes a one-time secret.
func (d *door) link(who string, role Role, now time.Time) string {
	text := rand.Text()
	d.mu.Lock()
	defer d.mu.Unlock()
	for h, l := range d.links {
		if !now.Before(l.ends) {
			delete(d.links, h)
		}
	}
	for len(d.links) >= mostLinks {
		var first secret
		for h, l := range d.links {
			if at, ok := d.links[first]; !ok || l.ends.Before(at.ends) {
				first = h
			}
		}
		delete(d.links, first)
	}
	d.links[hashed(text)] = link{who, role, now.Add(LinkLife)}
	return text
}

// redeem takes a one-time secret and opens a session; a session that the browser had ends. Ok tells whether the secret was good.
func (d *door) redeem(text, before string, now time.Time) (cookie string, s session, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := hashed(text)
	l, ok := d.links[h]
	delete(d.links, h)
	if !ok || !now.Before(l.ends) {
		return "", session{}, false
	}
	cookie, opened := d.open(l.who, l.role, before, now)
	return cookie, *opened, true
}

// enter opens a session of somebody who signed in elsewhere, until that ends.
func (d *door) enter(by Person, ends time.Time, before string, now time.Time) (cookie string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cookie, s := d.open(by.Name, by.Role, before, now)
	s.ends = ends
	return cookie
}

// open makes a session under a new secret: one that somebody else put into the browser opens nothing. The caller holds the lock.
func (d *door) open(who string, role Role, before string, now time.Time) (string, *session) {
	delete(d.sessions, hashed(before))
	for h, s := range d.sessions {
		if s.over(now) {
			delete(d.sessions, h)
		}
	}
	for len(d.sessions) >= mostSessions {
		var first secret
		for h, s := range d.sessions {
			if at := d.sessions[first]; at == nil || s.used.Before(at.used) {
				first = h
			}
		}
		delete(d.sessions, first)
	}
	cookie := rand.Text()
	s := &session{who: who, role: role, token: rand.Text(), since: now, used: now}
	d.sessions[hashed(cookie)] = s
	return cookie, s
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.used) >= idleLife || now.Sub(s.since) >= mostLife || !s.ends.IsZero() && !now.Before(s.ends)
}

// find returns the session of a cookie, nil if there is none. What a page asks by itself does not keep it alive.
func (d *door) find(cookie string, byHand bool, now time.Time) *session {
	if cookie == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h := hashed(cookie)
	s := d.sessions[h]
	if s == nil {
		return nil
	}
	if s.over(now) {
		delete(d.sessions, h)
		return nil
	}
	if byHand {
		s.used = now
	}
	out := *s
	return &out
}

// leave ends a session.
func (d *door) leave(cookie string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, hashed(cookie))
}

// tell tells whether a refusal is to be recorded now, and how many were not since the last.
func (d *door) tell(now time.Time) (omitted int64, may bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.told) < refusalPause {
		d.omitted++
		return 0, false
	}
	omitted, d.told, d.omitted = d.omitted, now, 0
	return omitted, true
}
