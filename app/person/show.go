package person

import (
	"context"
	"fmt"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/keyring"
)

// Show returns events with the names of those whose keys are there. It changes none of the events that it is given.
func (b *Book) Show(ctx context.Context, events []*event.Event) ([]*event.Event, error) {
	s, done, err := b.shower(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	out := make([]*event.Event, len(events))
	for i, e := range events {
		out[i] = s.event(e)
	}
	if s.failed != nil {
		return nil, fmt.Errorf("putting names in place of pseudonyms: %w", s.failed)
	}
	return out, nil
}

// ShowText returns a text with the names of those whose keys are there.
func (b *Book) ShowText(ctx context.Context, text string) (string, error) {
	out, err := b.ShowTexts(ctx, []string{text})
	if err != nil {
		return "", err
	}
	return out[0], nil
}

// ShowTexts is ShowText of several.
func (b *Book) ShowTexts(ctx context.Context, all []string) ([]string, error) {
	s, done, err := b.shower(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	out := make([]string, len(all))
	for i := range all {
		out[i] = shown(all[i], s.person)
	}
	return out, s.failed
}

// shower puts names into some texts.
type shower struct {
	b      *Book
	ctx    context.Context     //nolint:containedctx // of the one call that it lives for
	met    map[string]*someone // by their pseudonyms; nil: nobody
	failed error
}

// shower looks persons up until the func that it returns is called.
func (b *Book) shower(ctx context.Context) (*shower, func(), error) {
	b.mu.Lock()
	if err := b.refresh(ctx); err != nil {
		b.mu.Unlock()
		return nil, nil, err
	}
	return &shower{b: b, ctx: ctx, met: map[string]*someone{}}, b.mu.Unlock, nil
}

func (s *shower) person(pseudonym string) *someone {
	p, met := s.met[pseudonym]
	if met || s.failed != nil {
		return p
	}
	p, err := s.b.of(s.ctx, pseudonym)
	if err != nil {
		s.failed = err
	}
	s.met[pseudonym] = p
	return p
}

// event is an event as people read it.
func (s *shower) event(e *event.Event) *event.Event {
	text := func(t string) string { return shown(t, s.person) }
	return through(e, &hands{name: text, who: text, value: text, claim: s.claim, text: text, path: text, query: text, url: text})
}

func (s *shower) claim(value any) any {
	switch v := value.(type) {
	case string:
		return s.opened(v)
	case []string:
		return list(v, func(one string) string {
			if text, ok := s.opened(one).(string); ok {
				return text
			}
			return one
		})
	}
	return value
}

// opened is what was sealed of a claim; the claim as it is if it was not, or nobody can open it.
func (s *shower) opened(v string) any {
	from, end, to, found := keyring.Pseudonyms(v)
	if !found || from != 0 || to != len(v) || end == to {
		return v
	}
	p := s.person(v[:end])
	if p == nil {
		return v
	}
	sealed, err := p.Open(v)
	if err != nil {
		return v
	}
	if value, ok := claimOf(sealed); ok {
		return value
	}
	return v
}
