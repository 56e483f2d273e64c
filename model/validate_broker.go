package model

import (
	"fmt"
	"slices"
	"strings"
)

// broker checks a broker, and what a service may do at others.
func (c *checker) broker(key, name string, s Service) {
	if s.Broker != "" && s.Address != "" && !tcp(s.Address) {
		c.fail("bad-broker", key+".broker", "a broker speaks no HTTP; expected an address tcp://host:port", "write address: tcp://127.0.0.1:4222")
	}
	switch at := key + ".broker_keys"; {
	case s.Broker == "nats" && s.BrokerKeys == Value{}:
		c.failKey("missing-key", key+".broker", "a broker obeys its sidecar by secret keys, and none are named", "add broker_keys: {from_file: "+name+".keys}; palisade export nats "+name+" makes the file")
	case s.Broker == "" && s.BrokerKeys != Value{}:
		c.failKey("not-a-broker", at, quote(name)+" is not declared as a broker", "add broker: nats, or remove it")
	case s.Broker != "":
		c.value(at, "key", s.BrokerKeys)
	}
	c.subjects(key+".publish", name, s.Publish)
	c.subjects(key+".subscribe", name, s.Subscribe)
}

// subjects checks what a service may send to or receive from brokers.
func (c *checker) subjects(key, name string, byBroker map[string][]string) {
	for _, broker := range sortedKeys(byBroker) {
		at := join(key, broker)
		b, known := c.Fleet.Services[broker]
		switch {
		case !known:
			c.failKey("unknown-service", at, fmt.Sprintf("no service is named %q", broker), didYouMean(broker, c.services))
		case b.Broker == "":
			c.failKey("not-a-broker", at, quote(broker)+" is not declared as a broker", "add broker: nats to "+join("services", broker)+", or name another service")
		case len(b.Callers) > 0 && !slices.Contains(b.Callers, name):
			c.failKey("not-a-caller", at, quote(name)+" may not call "+quote(broker)+" at all", "add it to "+join("services", broker)+".callers")
		}
		if len(byBroker[broker]) == 0 {
			c.fail("missing-value", at, "expected at least one subject, found none", "write [orders.>]")
		}
		for i, subject := range byBroker[broker] {
			switch text, hint := badSubject(subject); {
			case text != "":
				c.fail("bad-subject", index(at, i), text, hint)
			case strings.HasSuffix(key, ".subscribe") && (subject[0] == '*' || subject[0] == '>'):
				c.fail("bad-subject", index(at, i), fmt.Sprintf("%q would read the answers to others", subject), "begin with a word: [orders.>]")
			case subject == ">":
				c.warn("wide-subject", index(at, i), "> is every subject, also those of services to come", "name the subjects: [orders.>]")
			}
		}
	}
}

// badSubject says what is wrong with a NATS subject, or returns "". Subjects are tokens between dots; * stands for
// one token, > for one or more at the end.
func badSubject(s string) (text, hint string) {
	if s == "" {
		return "expected a subject, found nothing", "write orders.created, orders.* or orders.>"
	}
	if len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Sprintf("%q is not a subject", s), "expected at most 255 printable ASCII characters without spaces"
	}
	tokens := strings.Split(s, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return fmt.Sprintf("%q has an empty token", s), "write one dot between tokens, and none at the ends"
		case token == ">" && i < len(tokens)-1:
			return fmt.Sprintf("%q has > before its end", s), "> stands for all that follows; write * for one token"
		case token != "*" && token != ">" && strings.ContainsAny(token, "*>"):
			return fmt.Sprintf("in %q a wildcard is only a part of a token", s), "write * or > as a whole token"
		}
	}
	switch tokens[0] {
	case "$SYS":
		return fmt.Sprintf("%q belongs to the broker itself", s), "no service needs it"
	case "_INBOX":
		return fmt.Sprintf("%q would read the answers to others", s), "remove it; every client may receive the answers to its own requests"
	}
	return "", ""
}
