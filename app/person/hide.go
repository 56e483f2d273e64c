package person

import (
	"context"
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/event"
)

// Hide returns events as they are kept: the names of users, and what leads to a user, are under the key of that person, which is made if there is none. It
// changes none of the events that it is given.
func (b *Book) Hide(ctx context.Context, events []*event.Event) ([]*event.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return nil, err
	}
	names := map[string]struct{}{}
	for _, e := range events {
		if e.User != nil && e.User.Subject != "" {
			names[e.User.Subject] = struct{}{}
		}
		if name := administrator(e); name != "" {
			names[name] = struct{}{}
		}
	}
	if err := b.welcome(ctx, names); err != nil {
		return nil, err
	}
	h := b.hider(ctx)
	out := make([]*event.Event, len(events))
	for i, e := range events {
		out[i] = h.event(e)
	}
	if h.failed != nil {
		return nil, fmt.Errorf("putting pseudonyms in place of names: %w", h.failed)
	}
	return out, nil
}

// HideText returns a text without the names of persons that have a key.
func (b *Book) HideText(ctx context.Context, text string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return "", err
	}
	h := b.hider(ctx)
	out := inText(text, h.known)
	return out, h.failed
}

// HideWho is what stands for an administrator, for whom a key is made if there is none.
func (b *Book) HideWho(ctx context.Context, who string) (string, error) {
	name := personOf(who)
	if name == "" {
		return who, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.refresh(ctx)
	if err == nil {
		err = b.welcome(ctx, map[string]struct{}{name: {}})
	}
	if err != nil {
		return "", err
	}
	h := b.hider(ctx)
	return h.administrator(who), h.failed
}

// administrator is the name of who did an act, if that is a person.
func administrator(e *event.Event) string {
	if e.Act == nil || e.Act.Role == "" {
		return ""
	}
	return personOf(e.Act.Who)
}

// personOf is the name of an administrator without the provider that stands before it: a user and an administrator of one name are one person. Empty: it is no
// person, but a service, or an account that anybody may have behind it.
func personOf(who string) string {
	provider, subject, ok := strings.Cut(who, ":")
	if !ok || subject == "" {
		provider, subject = "", who
	}
	if provider == "spiffe" || provider == "uid" || subject == "root" {
		return ""
	}
	return subject
}

// hider replaces names in some events.
type hider struct {
	b      *Book
	ctx    context.Context     //nolint:containedctx // of the one call that it lives for
	met    map[string]*someone // by names that were looked for; nil: nobody's
	failed error

	own  *someone            // the user of the event
	says map[string]struct{} // what claims say of the user
	odd  []string            // names and sayings that are no words
}

// hider looks persons up while the caller holds the lock.
func (b *Book) hider(ctx context.Context) *hider {
	return &hider{b: b, ctx: ctx, met: map[string]*someone{}}
}

// person returns the person of a name, nil if there is none.
func (h *hider) person(name string) *someone {
	p, met := h.met[name]
	if met || h.failed != nil {
		return p
	}
	p, err := h.b.named(h.ctx, name)
	if err != nil {
		h.failed = err
	}
	h.met[name] = p
	return p
}

// known is what stands for a name: the pseudonym, or what is sealed if the name does not stand as it is.
func (h *hider) known(name, raw string) string {
	if h.b.word != nil && h.b.word(name) {
		return ""
	}
	if _, says := h.says[name]; says {
		return h.sealed(h.own, raw)
	}
	p := h.person(name)
	switch {
	case p == nil:
		return ""
	case name != raw:
		return h.sealed(p, raw)
	}
	return p.Pseudonym()
}

// sealed is what stands for a text that leads to a person.
func (h *hider) sealed(p *someone, text string) string {
	out, err := p.Seal(text)
	if err != nil {
		h.failed = err
		return event.Redacted
	}
	return out
}

// event is an event as it is kept.
func (h *hider) event(e *event.Event) *event.Event {
	h.about(e.User)
	return through(e, &hands{
		name: h.subject, who: func(s string) string { return h.who(e, s) }, value: h.value, claim: h.claim,
		text:  func(s string) string { return inText(h.oddly(s), h.known) },
		path:  func(s string) string { return inPath(h.oddly(s), h.known) },
		query: func(s string) string { return inQuery(h.oddly(s), h.known) },
		url:   func(s string) string { return inURL(h.oddly(s), h.known) },
	})
}

// about learns what the user of an event is called.
func (h *hider) about(u *event.User) {
	h.own, h.says, h.odd = nil, nil, h.odd[:0]
	if u == nil || u.Subject == "" {
		return
	}
	h.own = h.person(u.Subject)
	if h.own == nil {
		return
	}
	h.oddOf(u.Subject)
	if u.Attributes == nil {
		return
	}
	say := func(claim, value string) {
		if !quoted(claim, value) || value == u.Subject {
			return
		}
		if h.says == nil {
			h.says = map[string]struct{}{}
		}
		h.says[value] = struct{}{}
		h.oddOf(value)
	}
	for _, c := range u.Attributes.Claims {
		switch v := c.Value.(type) {
		case string:
			say(c.Name, v)
		case []string:
			for _, one := range v {
				say(c.Name, one)
			}
		}
	}
}

// oddOf notes a name that words and parts of words cannot be.
func (h *hider) oddOf(name string) {
	if len(name) >= leastQuoted && (strings.ContainsAny(name, blanks+joints) || strings.TrimRight(name, ending) != name) {
		h.odd = append(h.odd, name)
	}
}

// oddly replaces names that are no words.
func (h *hider) oddly(s string) string {
	for _, name := range h.odd {
		if len(s) >= len(name) && strings.Contains(s, name) {
			if with := h.known(name, name); with != "" {
				s = bounded(s, name, with)
			}
		}
	}
	return s
}

func (h *hider) subject(name string) string {
	if h.own == nil {
		return name
	}
	return h.own.Pseudonym()
}

// who is who did an act: administrators are persons, what proxies say of themselves and of strangers names none.
func (h *hider) who(e *event.Event, who string) string {
	if administrator(e) == "" {
		return inText(who, h.known)
	}
	return h.administrator(who)
}

func (h *hider) administrator(who string) string {
	subject := personOf(who)
	if subject == "" {
		return who
	}
	if p := h.person(subject); p != nil {
		return strings.TrimSuffix(who, subject) + p.Pseudonym()
	}
	return who
}

func (h *hider) value(s string) string {
	if s == "" || h.own == nil {
		return s
	}
	return h.sealed(h.own, s)
}

// claim is what stands for the value of a claim. What is true or false leads to nobody.
func (h *hider) claim(value any) any {
	if h.own == nil {
		return value
	}
	switch v := value.(type) {
	case string:
		if v != "" && v != event.Redacted {
			return h.sealed(h.own, claimText+v)
		}
	case int64:
		return h.sealed(h.own, sealedNumber(v))
	case []string:
		return list(v, func(s string) string {
			if s == "" || s == event.Redacted {
				return s
			}
			return h.sealed(h.own, claimText+s)
		})
	}
	return value
}
