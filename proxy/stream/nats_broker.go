package stream

import (
	"bytes"
	"strconv"
	"strings"
)

// natsBroker is what becomes of what a broker says after its INFO. It hears what the broker refuses to the client, which
// only the client would know otherwise.
type natsBroker struct {
	inbox   natsInbox
	refused func(verb, subject string) // publish or subscribe
}

func (b *natsBroker) line(line, out []byte, lines *natsLines) ([]byte, error) {
	switch op, text, _ := bytes.Cut(line, []byte(" ")); string(op) {
	case "INFO":
		return out, nil // it would name the broker's cluster, which is past the mesh
	case "-ERR":
		return append(append(append(out, "-ERR "...), b.hear(string(text))...), '\r', '\n'), nil
	case "+OK":
		return append(append(out, line...), '\r', '\n'), nil
	}
	w, err := split(line)
	if err != nil {
		return out, err
	}
	least := 0
	switch string(w.words[0]) {
	case "PING", "PONG":
		return join(out, w.words[:w.n]...), nil
	case "MSG": // subject, id, [reply,] length
		least = 4
	case "HMSG": // subject, id, [reply,] length of the header, length of all
		least = 5
	}
	words, ok := w.of(least, least+1)
	if !ok || least == 0 {
		return out, errNATS
	}
	words[1] = b.inbox.inward(words[1])
	return join(out, words...), lines.expect(words[len(words)-1])
}

func (b *natsBroker) message(*natsWhole, []byte) ([]byte, error) { return nil, errNATS } // none is asked for

// hear takes note of a refusal, and returns it in the client's words (nats-server client.go, pubPermissionViolation).
func (b *natsBroker) hear(text string) string {
	for begin, verb := range map[string]string{"'Permissions Violation for Publish to ": "publish", "'Permissions Violation for Subscription to ": "subscribe"} {
		behind, ok := strings.CutPrefix(text, begin)
		if !ok {
			continue
		}
		quoted, err := strconv.QuotedPrefix(behind)
		if err != nil {
			return text
		}
		subject, err := strconv.Unquote(quoted)
		if err != nil {
			return text
		}
		subject = string(b.inbox.inward([]byte(subject)))
		b.refused(verb, subject)
		return begin + strconv.Quote(subject) + behind[len(quoted):]
	}
	return text
}
