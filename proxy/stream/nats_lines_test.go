package stream

import (
	"errors"
	"fmt"
	"testing"
)

// TestNATSClientLines is what becomes of what a client says.
func TestNATSClientLines(t *testing.T) {
	const mine, others = "_INBOX.idA", "_INBOX.idB"
	message := func(line, body string) string { return fmt.Sprintf("%s %d\r\n%s\r\n", line, len(body), body) }
	deliver := func(to string) string { return `{"config":{"deliver_subject":"` + to + `"},"stream_name":"S"}` }
	const create = "PUB $JS.API.CONSUMER.CREATE.S.c"
	client := &natsClient{natsInbox{own: mine, all: "_INBOX.id"}}
	for _, c := range []struct {
		name, says, becomes string
		err                 error
	}{
		{"an inbox", "SUB _INBOX.x.* 1\r\n", "SUB " + mine + ".x.* 1\r\n", nil},
		{"all inboxes are its own", "SUB _INBOX.> q 1\r\n", "SUB " + mine + ".> q 1\r\n", nil},
		{"that of another is below its own", "SUB " + others + ".> 1\r\n", "SUB " + mine + ".idB.> 1\r\n", nil},
		{"no inbox", "SUB _INBOXES.x 1\r\nSUB a 2\r\n", "SUB _INBOXES.x 1\r\nSUB a 2\r\n", nil},
		{"a request", message("PUB a _INBOX.x.1", "hi"), message("PUB a "+mine+".x.1", "hi"), nil},
		{"a request with a header", "HPUB a _INBOX.x.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", "HPUB a " + mine + ".x.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", nil},
		{"another's request, handed on", message("PUB a "+others+".x.1", "hi"), message("PUB a "+others+".x.1", "hi"), nil},
		{"an answer", message("PUB "+others+".x.1", "SUB _INBOX.x 1"), message("PUB "+others+".x.1", "SUB _INBOX.x 1"), nil},
		{"blanks", "SUB  a\t1 \r\n", "SUB a 1\r\n", nil},
		{"a consumer", message(create, deliver("_INBOX.x")), message(create, deliver(mine+".x")), nil},
		{"a consumer of a domain", message("PUB $JS.hub.API.CONSUMER.DURABLE.CREATE.S.c", deliver("_INBOX.x")), message("PUB $JS.hub.API.CONSUMER.DURABLE.CREATE.S.c", deliver(mine+".x")), nil},
		{"a consumer elsewhere", message(create, deliver("orders.push")), message(create, deliver("orders.push")), nil},
		{"a consumer that pulls", message(create, `{"config":{"ack_policy":"none"}}`), message(create, `{"config":{"ack_policy":"none"}}`), nil},
		{
			"a consumer with a header",
			"HPUB $JS.API.CONSUMER.CREATE.S _INBOX.r 12 66\r\nNATS/1.0\r\n\r\n" + `{"config":{"deliver_subject":"_INBOX.x"},"action":"a"}` + "\r\n",
			"HPUB $JS.API.CONSUMER.CREATE.S " + mine + ".r 12 70\r\nNATS/1.0\r\n\r\n" + `{"action":"a","config":{"deliver_subject":"_INBOX.idA.x"}}` + "\r\n",
			nil,
		},
		{"a consumer for another", message(create, deliver(others+".x")), "", errConsumer},
		{"the same, in other letters", message(create, `{"config":{"deliver_subject":"_INBOX\u002eidB.x"}}`), "", errConsumer},
		{"said twice", message(create, `{"config":{"deliver_subject":"a","deliver_subject":"_INBOX.idB.x"}}`), "", errNATS},
		{"said in capitals", message(create, `{"config":{"Deliver_Subject":"_INBOX.idB.x"}}`), "", errNATS},
		{"two configs", message(create, `{"config":{},"CONFIG":{"deliver_subject":"_INBOX.idB.x"}}`), "", errNATS},
		{"a consumer without end", create + " 65537\r\n", "", errNATS},
		{"a header longer than all", "HPUB $JS.API.CONSUMER.CREATE.S 9 2\r\n{}\r\n", "", errNATS},
		{"too many words", "SUB a b c d e f g\r\n", "", errNATS},
		{"too few", "SUB a\r\n", "", errNATS},
		{"a blank first", " PING\r\n", "", errNATS},
	} {
		out, _, err := speak(client, []byte(c.says), len(c.says))
		if !errors.Is(err, c.err) || err == nil && string(out) != c.becomes {
			t.Errorf("%s: %v, %q, want %v, %q", c.name, err, out, c.err, c.becomes)
		}
	}
}

// TestNATSBrokerLines is what becomes of what a broker says.
func TestNATSBrokerLines(t *testing.T) {
	for says, want := range map[string]struct{ becomes, heard string }{
		"MSG _INBOX.idA.x.1 1 2\r\nhi\r\n":                                             {becomes: "MSG _INBOX.x.1 1 2\r\nhi\r\n"},
		"MSG _INBOX.idAB.x 1 2\r\nhi\r\n":                                              {becomes: "MSG _INBOX.idAB.x 1 2\r\nhi\r\n"},
		"HMSG _INBOX.idA.x 1 _INBOX.idB.y 2 2\r\nhi\r\n":                               {becomes: "HMSG _INBOX.x 1 _INBOX.idB.y 2 2\r\nhi\r\n"},
		"INFO {\"connect_urls\":[\"10.0.0.1:4222\"]}\r\n+OK\r\nPONG\r\n":               {becomes: "+OK\r\nPONG\r\n"},
		"-ERR 'Permissions Violation for Publish to \"a.b\"'\r\n":                      {becomes: "-ERR 'Permissions Violation for Publish to \"a.b\"'\r\n", heard: "publish a.b"},
		"-ERR 'Permissions Violation for Subscription to \"_INBOX.idA.x\"'\r\n":        {becomes: "-ERR 'Permissions Violation for Subscription to \"_INBOX.x\"'\r\n", heard: "subscribe _INBOX.x"},
		"-ERR 'Permissions Violation for Subscription to \"a\" using queue \"q\"'\r\n": {becomes: "-ERR 'Permissions Violation for Subscription to \"a\" using queue \"q\"'\r\n", heard: "subscribe a"},
		"-ERR 'Authorization Violation'\r\n":                                           {becomes: "-ERR 'Authorization Violation'\r\n"},
		"-ERR 'Permissions Violation for Publish to a'\r\n":                            {becomes: "-ERR 'Permissions Violation for Publish to a'\r\n"},
	} {
		heard := ""
		out, _, err := speak(&natsBroker{natsInbox{own: own, all: "_INBOX.id"}, func(verb, subject string) { heard += verb + " " + subject }}, []byte(says), len(says))
		if err != nil || string(out) != want.becomes || heard != want.heard {
			t.Errorf("%q: %v, %q, heard %q, want %+v", says, err, out, heard, want)
		}
	}
}
