package proxy

import "errors"

// CodeOf returns the reason code under which an error is to be recorded, "" if none of what it wraps knows one. It is how a
// room that this one does not know, such as the one that verifies peers, says what was wrong.
func CodeOf(err error) string {
	if c, ok := errors.AsType[interface {
		error
		ReasonCode() string
	}](err); ok {
		return c.ReasonCode()
	}
	return ""
}
