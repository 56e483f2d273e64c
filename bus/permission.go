package bus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
)

// Permissions are the subjects an identity may send to and receive from. The zero value permits nothing. Every
// identity may also take answers under its own Inbox, and answer what it was asked.
type Permissions struct {
	Publish   []string // patterns
	Subscribe []string
	// ManyAnswers lets it send more than one message to whoever asked it, for a minute: streams of answers, and what is
	// told JetStream of a message before it is acknowledged.
	ManyAnswers bool
}

// Add returns both together.
func (p Permissions) Add(q Permissions) Permissions {
	return Permissions{
		Publish: slices.Concat(p.Publish, q.Publish), Subscribe: slices.Concat(p.Subscribe, q.Subscribe),
		ManyAnswers: p.ManyAnswers || q.ManyAnswers,
	}
}

// MayRequest permits Request and Publish to a subject.
func MayRequest(subject string) Permissions { return Permissions{Publish: []string{subject}} }

// MayServe permits Serve.
func MayServe(subject string) Permissions { return Permissions{Subscribe: []string{subject}} }

// MayWatch permits Watch of exactly this pattern of a bucket, and no other way to read it; the server takes a * at
// its end for >. What is watched can be
// made to arrive at any subject of the account (the server does not check where), under its own name: Serve drops
// it, and other receivers must not take a message's arrival for its sender's right.
func MayWatch(bucket, pattern string) Permissions {
	stream := bucketStream + bucket
	return Permissions{Publish: []string{"$JS.API.CONSUMER.CREATE." + stream + ".*." + bucketSubject + bucket + "." + pattern}}
}

// Check tells why a server could not hold these permissions, or nil.
func (p Permissions) Check() error {
	_, err := p.claims("spiffe://any")
	return err
}

const (
	answers     = 1 // to one request
	answersTime = time.Minute
)

// claims returns the form in which a server understands permissions. A server reads an empty list as everything, so
// no list is ever empty.
func (p Permissions) claims(id string) (jwt.Permissions, error) {
	var out jwt.Permissions
	for _, pattern := range slices.Concat(p.Publish, p.Subscribe) {
		if err := checkSubject(pattern, true); err != nil {
			return out, err
		}
	}
	for _, pattern := range p.Subscribe {
		if reaches(pattern, inboxes) {
			return out, fmt.Errorf("%q would read the answers to others", pattern)
		}
	}
	out.Pub.Allow = slices.Clone(p.Publish)
	if len(p.Publish) == 0 {
		out.Pub.Deny = []string{">"}
	}
	out.Sub.Allow = append(slices.Clone(p.Subscribe), Inbox(id)+".>")
	var err error
	if out.Sub.Deny, err = narrowed(out.Sub.Allow); err != nil {
		return out, err
	}
	out.Resp = &jwt.ResponsePermission{MaxMsgs: answers, Expires: answersTime}
	if p.ManyAnswers {
		out.Resp.MaxMsgs = -1
	}
	return out, nil
}

// narrowed returns what must be denied so that patterns ending in * mean what they say: a server that permits "a.*" also
// takes a subscription to "a.>", since it reads its > as any token, and then delivers "a.b.c". What is denied is not
// delivered. Patterns that need more than one such denial leaves are refused.
func narrowed(allowed []string) (denied []string, err error) {
	for _, pattern := range allowed {
		stem, star := strings.CutSuffix(pattern, ".*")
		if !star && pattern != "*" {
			continue
		}
		deeper := stem + ".*.>"
		if !star {
			deeper = "*.>"
		}
		meant := false // somebody wants all of it
		var part string
		for _, other := range allowed {
			switch {
			case covers(other, deeper):
				meant = true
			case intersect(other, deeper):
				part = other
			}
		}
		switch {
		case meant:
		case part != "":
			return nil, fmt.Errorf("the server cannot hold %q together with %q; give one of them another stem", pattern, part)
		default:
			denied = append(denied, deeper)
		}
	}
	return denied, nil
}

// covers tells whether every subject of a pattern is one of another.
func covers(wide, pattern string) bool {
	w, p := strings.Split(wide, "."), strings.Split(pattern, ".")
	for i, token := range w {
		switch {
		case token == ">":
			return len(p) > i
		case i >= len(p), p[i] == ">", token != "*" && token != p[i]:
			return false
		}
	}
	return len(w) == len(p)
}

// intersect tells whether some subject is of both patterns.
func intersect(one, two string) bool {
	a, b := strings.Split(one, "."), strings.Split(two, ".")
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == ">" || b[i] == ">":
			return true
		case a[i] != b[i] && a[i] != "*" && b[i] != "*":
			return false
		}
	}
	return len(a) == len(b)
}

// reaches tells whether some subject that begins with a token is of a pattern.
func reaches(pattern, token string) bool {
	first, _, _ := strings.Cut(pattern, ".")
	return first == token || first == "*" || first == ">"
}
