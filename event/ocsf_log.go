package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// logClassification is the Base Event of OCSF, which is for what no class describes: what is said in log records is their writers' affair.
const logClassification = `"class_uid":0,"class_name":"Base Event","category_uid":0,"category_name":"Uncategorized","activity_id":99,"activity_name":"Log","type_uid":99`

// log writes e as one OCSF Base Event. That class has no profile for traces: what holds together has the same
// correlation_uid, which is the trace id.
func (o *object) log(e *Event) {
	l := e.Log
	o.raw(logClassification)
	o.exact(`"time":`, e.Time.UnixMilli())
	o.raw(l.Severity.ocsf())
	o.str(`"message":"`, l.Text)
	o.dst = append(o.dst, `"metadata":{"version":"`+SchemaVersion+`","product":{"name":"Palisade","vendor_name":"Palisade"},`...)
	o.str(`"log_name":"`, l.Source)
	o.str(`"log_provider":"`, e.Service)
	o.str(`"log_level":"`, l.Level)
	if !l.Observed.IsZero() {
		o.exact(`"logged_time":`, l.Observed.UnixMilli())
	}
	o.str(`"original_time":"`, l.Original)
	o.str(`"uid":"`, e.ID)
	if e.TraceID != "" {
		o.must(`"correlation_uid":"`, e.TraceID)
	} else {
		o.str(`"correlation_uid":"`, e.ID)
	}
	o.close()
	o.logUnmapped(e)
}

// logUnmapped writes what OCSF has no place for in this class.
func (o *object) logUnmapped(e *Event) {
	l := e.Log
	o.nest(`"unmapped":`)
	o.num(`"time_ns":`, int64(e.Time.Nanosecond()%nanosPerMilli))
	o.str(`"fleet":"`, e.Fleet)
	o.str(`"snapshot":"`, e.Snapshot)
	o.nest(`"log":`)
	o.str(`"trace":"`, e.TraceID)
	o.str(`"span":"`, e.SpanID)
	o.str(`"host":"`, e.Host)
	o.str(`"client":"`, e.Client)
	o.num(`"client_port":`, int64(e.ClientPort))
	o.str(`"workload":"`, e.Workload)
	o.str(`"form":"`, l.Form)
	o.num(`"severity":`, int64(l.Severity))
	if !l.Observed.IsZero() {
		o.num(`"observed_ns":`, int64(l.Observed.Nanosecond()%nanosPerMilli))
	}
	o.num(`"omitted":`, l.Omitted)
	if len(l.Attributes) > 0 {
		o.nest(`"attributes":`)
		o.members(l.Attributes)
		o.close()
	}
	o.close()
	o.close()
}

// members writes texts by name, in the order of names: the same event is the same bytes.
func (o *object) members(m map[string]string) {
	var room [16]string // enough for most, so that sorting does not allocate
	keys := room[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		o.dst = append(appendString(o.dst, k), ':')
		o.must(`"`, m[k])
	}
}

// ocsf is the severity as members of an event.
func (s Severity) ocsf() string {
	switch {
	case s < SeverityTrace || s > severityLast:
		return `"severity_id":0,"severity":"Unknown"`
	case s < SeverityWarn:
		return severityInformational
	case s < SeverityError:
		return severityLow
	case s == SeverityError:
		return severityMedium
	case s < SeverityFatal:
		return severityHigh
	}
	return `"severity_id":6,"severity":"Fatal"`
}

// wireLog is the shape of a log record as far as Parse needs it.
type wireLog struct {
	ClassUID int    `json:"class_uid"`
	Time     int64  `json:"time"`
	Message  string `json:"message"`
	Metadata struct {
		Version  string `json:"version"`
		UID      string `json:"uid"`
		Name     string `json:"log_name"`
		Provider string `json:"log_provider"`
		Level    string `json:"log_level"`
		Logged   *int64 `json:"logged_time"`
		Original string `json:"original_time"`
	} `json:"metadata"`
	Unmapped struct {
		TimeNS   int64       `json:"time_ns"`
		Fleet    string      `json:"fleet"`
		Snapshot string      `json:"snapshot"`
		Log      *wireRecord `json:"log"`
	} `json:"unmapped"`
}

type wireRecord struct {
	Trace      string            `json:"trace"`
	Span       string            `json:"span"`
	Host       string            `json:"host"`
	Client     string            `json:"client"`
	ClientPort int               `json:"client_port"`
	Workload   string            `json:"workload"`
	Form       string            `json:"form"`
	Severity   Severity          `json:"severity"`
	ObservedNS int64             `json:"observed_ns"`
	Omitted    int64             `json:"omitted"`
	Attributes map[string]string `json:"attributes"`
}

// isLog tells whether AppendJSON wrote b of a log record, by how it begins.
func isLog(b []byte) bool { return bytes.HasPrefix(b, []byte(`{"class_uid":0,`)) }

// parseLog is Parse of a log record.
func parseLog(b []byte) (*Event, error) {
	var w wireLog
	if !w.scanned(b) {
		w = wireLog{}
		if err := json.Unmarshal(b, &w); err != nil {
			return nil, fmt.Errorf("reading event: %w", err)
		}
	}
	return w.event()
}

// event is what was read.
func (w *wireLog) event() (*Event, error) {
	l := w.Unmapped.Log
	if w.ClassUID != 0 || l == nil || w.Metadata.Version != SchemaVersion {
		return nil, fmt.Errorf("reading event: %w", ErrForeign)
	}
	e := &Event{
		Time: momentOf(w.Time, w.Unmapped.TimeNS), ID: w.Metadata.UID, TraceID: l.Trace, SpanID: l.Span,
		Fleet: w.Unmapped.Fleet, Snapshot: w.Unmapped.Snapshot,
		Host: l.Host, Client: l.Client, ClientPort: l.ClientPort, Workload: l.Workload, Service: w.Metadata.Provider, Allowed: true,
		Log: &Log{
			Source: w.Metadata.Name, Form: l.Form, Severity: l.Severity, Level: w.Metadata.Level, Text: w.Message,
			Attributes: l.Attributes, Original: w.Metadata.Original, Omitted: l.Omitted,
		},
	}
	if w.Metadata.Logged != nil {
		e.Log.Observed = momentOf(*w.Metadata.Logged, l.ObservedNS)
	}
	if len(l.Attributes) == 0 {
		e.Log.Attributes = nil
	}
	return e, nil
}

// momentOf is a time of which the nanoseconds within its millisecond stand elsewhere.
func momentOf(milli, nanos int64) time.Time {
	return time.UnixMilli(milli).Add(time.Duration(nanos)).UTC()
}
