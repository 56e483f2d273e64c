package stream

import (
	"bytes"
	"strconv"
)

// natsClient is what becomes of what a client says after its CONNECT. It says no second one: the broker would take it,
// credentials and all. And what it calls its inbox becomes the one that is its own: clients make their inboxes up, so
// whoever was shown one in a request could listen there too.
type natsClient struct{ inbox natsInbox }

// natsInbox is where a client takes answers. The zero value changes nothing.
type natsInbox struct {
	own string // "_INBOX.x", which stands for the client's "_INBOX"
	all string // what those of all clients begin with
}

const clientInbox = "_INBOX."

// outward returns the subject that a client's subject stands for, where it would listen.
func (i *natsInbox) outward(subject []byte) []byte {
	if i.own == "" || !bytes.HasPrefix(subject, []byte(clientInbox)) {
		return subject
	}
	return append([]byte(i.own), subject[len(clientInbox)-1:]...)
}

// answers returns where an answer is to go. An address that another one gave the client is handed on as it is.
func (i *natsInbox) answers(subject []byte) []byte {
	if bytes.HasPrefix(subject, []byte(i.all)) {
		return subject
	}
	return i.outward(subject)
}

// inward returns what a client calls a subject.
func (i *natsInbox) inward(subject []byte) []byte {
	if i.own == "" || !bytes.HasPrefix(subject, []byte(i.own)) || len(subject) == len(i.own) || subject[len(i.own)] != '.' {
		return subject
	}
	return append([]byte(clientInbox), subject[len(i.own)+1:]...)
}

func (c *natsClient) line(line, out []byte, lines *natsLines) ([]byte, error) {
	w, err := split(line)
	if err != nil {
		return out, err
	}
	switch string(w.words[0]) {
	case "PUB": // subject, [reply,] length
		return c.publish(line, out, &w, 3, lines)
	case "HPUB": // subject, [reply,] length of the header, length of all
		return c.publish(line, out, &w, 4, lines)
	case "SUB": // subject, [queue,] id
		words, ok := w.of(3, 4)
		if !ok {
			return out, errNATS
		}
		words[1] = c.inbox.outward(words[1])
		return join(out, words...), nil
	case "UNSUB", "PING", "PONG":
		return join(out, w.words[:w.n]...), nil
	}
	return out, errNATS
}

// publish takes the line that announces a message.
func (c *natsClient) publish(line, out []byte, w *natsWords, least int, lines *natsLines) ([]byte, error) {
	words, ok := w.of(least, least+1)
	if !ok {
		return out, errNATS
	}
	length := words[len(words)-1]
	if c.inbox.own != "" && makesConsumer(words[1]) {
		return out, lines.keep(line, length)
	}
	if len(words) > least {
		words[2] = c.inbox.answers(words[2])
	}
	return join(out, words...), lines.expect(length)
}

// message hands on the request for a consumer, which names where its messages are to go.
func (c *natsClient) message(m *natsWhole, out []byte) ([]byte, error) {
	w, err := split(m.line)
	if err != nil {
		return out, err
	}
	words, body, header := w.words[:w.n], m.body[:len(m.body)-len("\r\n")], 0
	least := 3
	if string(words[0]) == "HPUB" {
		n, ok := natsLength(words[len(words)-2])
		if !ok || n > len(body) {
			return out, errNATS
		}
		least, header = 4, n
	}
	if len(words) > least {
		words[2] = c.inbox.answers(words[2])
	}
	request, err := c.inbox.consumer(body[header:])
	if err != nil {
		return out, err
	}
	words[len(words)-1] = strconv.AppendInt(nil, int64(header+len(request)), 10)
	out = join(out, words...)
	out = append(append(out, body[:header]...), request...)
	return append(out, '\r', '\n'), nil
}
