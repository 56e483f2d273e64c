package segment

import (
	"encoding/json"

	"github.com/palisade-security/palisade/event"
)

// headers are the headers as a JSON list, empty if there are none.
func headers(dst []byte, e *event.Event) []byte {
	if len(e.Headers) == 0 {
		return dst
	}
	return event.AppendHeaders(dst, e.Headers)
}

func setHeaders(e *event.Event, s string) error {
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), &e.Headers)
}

func roles(dst []byte, e *event.Event) []byte {
	if e.User == nil || len(e.User.Roles) == 0 {
		return dst
	}
	return event.AppendList(dst, e.User.Roles)
}

func setRoles(e *event.Event, s string) (err error) {
	if s == "" || e.User == nil {
		return nil
	}
	e.User.Roles, err = event.ParseList(s)
	return err
}

func attributes(dst []byte, e *event.Event) []byte {
	if e.User == nil || e.User.Attributes == nil {
		return dst
	}
	return event.AppendAttributes(dst, e.User.Attributes)
}

func setAttributes(e *event.Event, s string) (err error) {
	if s == "" || e.User == nil {
		return nil
	}
	e.User.Attributes, err = event.ParseAttributes(s)
	return err
}

func trail(dst []byte, e *event.Event) []byte {
	if len(e.Trail) == 0 {
		return dst
	}
	return event.AppendTrail(dst, e.Trail)
}

func setTrail(e *event.Event, s string) (err error) {
	if s == "" {
		return nil
	}
	e.Trail, err = event.ParseTrail(s)
	return err
}

// logAttributes are the attributes of a log record as a JSON object, empty if there are none.
func logAttributes(dst []byte, e *event.Event) []byte {
	if e.Log == nil || len(e.Log.Attributes) == 0 {
		return dst
	}
	return event.AppendMembers(dst, e.Log.Attributes)
}

func setLogAttributes(e *event.Event, s string) error {
	if s == "" || e.Log == nil {
		return nil
	}
	return json.Unmarshal([]byte(s), &e.Log.Attributes)
}
