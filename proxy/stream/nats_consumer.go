package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// makesConsumer tells whether a message asks JetStream for a consumer (docs.nats.io, JetStream wire API): $JS.API or
// $JS.<domain>.API, CONSUMER, CREATE or DURABLE.CREATE.
func makesConsumer(subject []byte) bool {
	rest, ok := bytes.CutPrefix(subject, []byte("$JS."))
	if !ok {
		return false
	}
	if !bytes.HasPrefix(rest, []byte("API.")) {
		_, rest, _ = bytes.Cut(rest, []byte("."))
	}
	return bytes.HasPrefix(rest, []byte("API.CONSUMER.CREATE.")) || bytes.HasPrefix(rest, []byte("API.CONSUMER.DURABLE.CREATE."))
}

var errConsumer = errors.New("a consumer would deliver to the inbox of another")

// consumer returns a request for a consumer with the client's own inbox as the subject to which it delivers, if that is
// one. JetStream asks nobody whether the client may listen there, so the inbox of another is refused, and so is what
// cannot be read.
func (i *natsInbox) consumer(request []byte) ([]byte, error) {
	all, err := objectMembers(request)
	if err != nil {
		return nil, errNATS
	}
	config, err := objectMembers(all["config"])
	if err != nil {
		return nil, errNATS
	}
	var to string
	if text, given := config["deliver_subject"]; given && json.Unmarshal(text, &to) != nil {
		return nil, errNATS
	}
	if !strings.HasPrefix(to, clientInbox) {
		return request, nil
	}
	if strings.HasPrefix(to, i.all) {
		return nil, errConsumer
	}
	if config["deliver_subject"], err = json.Marshal(string(i.outward([]byte(to)))); err != nil {
		return nil, errNATS
	}
	if all["config"], err = json.Marshal(config); err != nil {
		return nil, errNATS
	}
	return json.Marshal(all)
}
