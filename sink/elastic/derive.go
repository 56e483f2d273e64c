package elastic

import (
	"cmp"

	"github.com/palisade-security/palisade/event"
)

func ofRequest(of func(*event.Event) any) func(*event.Event) any {
	return func(e *event.Event) any {
		if e.Act != nil || e.Connection != nil || e.Log != nil {
			return nil
		}
		return of(e)
	}
}

func ofAct(of func(*event.Act) any) func(*event.Event) any {
	return func(e *event.Event) any {
		if e.Act == nil {
			return nil
		}
		return of(e.Act)
	}
}

// kind is alert for what OCSF calls medium or more: an attack, an identity that is no more.
func kind(e *event.Event) any {
	if e.SeverityID() >= 3 {
		return "alert"
	}
	return "event"
}

// category is one of the values that ECS allows for event.category. Log records may be about anything.
func category(e *event.Event) []string {
	switch class, _ := e.Class(); class {
	case 0:
		return nil
	case 4002:
		return []string{"web", "network"}
	case 4001:
		return []string{"network"}
	case 3002:
		return []string{"authentication"}
	case 6003:
		return []string{"configuration"}
	}
	return []string{"iam"}
}

// types are values that ECS allows for event.type in these categories.
func types(e *event.Event) []string {
	switch class, _ := e.Class(); class {
	case 0:
		return nil
	case 4002:
		return []string{"access", verdict(e)}
	case 4001:
		switch {
		case e.Open:
			return []string{"connection", "start", verdict(e)}
		case e.Act == nil:
			return []string{"connection", "end", verdict(e)}
		}
		return []string{"connection", "denied"}
	case 3002:
		return []string{"start"}
	case 6003:
		return []string{"change"}
	}
	return []string{"info", "change"}
}

func verdict(e *event.Event) string {
	if e.Allowed {
		return "allowed"
	}
	return "denied"
}

func action(e *event.Event) any {
	switch {
	case e.Log != nil:
		return nil
	case e.Act != nil:
		return string(e.Act.Kind)
	case e.Connection != nil:
		return "connection"
	}
	return e.Method
}

// outcome is what OCSF calls the status.
func outcome(e *event.Event) any {
	failed := !e.Allowed || e.Aborted != "" || e.Status >= 500 || e.Connection != nil && e.Problem != ""
	switch {
	case e.Log != nil:
		return nil
	case e.Act != nil:
		failed = e.Act.Outcome != event.Done
	case e.Open:
		return "unknown"
	}
	if failed {
		return "failure"
	}
	return "success"
}

func reason(e *event.Event) any {
	if e.Act != nil {
		return cmp.Or(e.Act.Reason, e.Act.Text)
	}
	return e.Problem
}

func protocol(e *event.Event) any {
	switch {
	case e.Act != nil || e.Log != nil:
		return nil
	case e.Connection != nil:
		return e.Connection.Protocol
	}
	return "http"
}

func roles(e *event.Event) []string {
	switch {
	case e.Act != nil && e.Act.Role != "":
		return []string{e.Act.Role}
	case e.Act == nil && e.User != nil:
		return e.User.Roles
	}
	return nil
}

func spanned(e *event.Event) any {
	if e.TraceID == "" {
		return nil
	}
	return e.SpanID
}

func side(e *event.Event) any {
	s := e.SeenAt()
	switch {
	case e.Act != nil || e.Log != nil:
		return nil
	case e.Connection == nil && s == event.SideUnknown:
		return "edge"
	}
	return s.String()
}

func ofLog(of func(*event.Event) any) func(*event.Event) any {
	return func(e *event.Event) any {
		if e.Log == nil {
			return nil
		}
		return of(e)
	}
}

func transport(e *event.Event) any {
	if e.Log != nil {
		return nil
	}
	return "tcp"
}
