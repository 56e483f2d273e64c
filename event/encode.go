package event

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// nanosPerMilli is what of a time OCSF's milliseconds do not say.
const nanosPerMilli = int(time.Millisecond)

// DefaultCapacity is room for an ordinary event as JSON.
const DefaultCapacity = 4 << 10

// AppendJSON appends e as one OCSF HTTP Activity, as Network Activity if it is of a connection, as the class that its
// kind of act belongs to, or as Base Event if it is a log record, in one line without its end, and returns the extended buffer. Parse reads it back. It
// allocates only to grow dst. What OCSF has no place for stands under unmapped. Redact the event first.
func AppendJSON(dst []byte, e *Event) []byte {
	o := &object{dst: dst}
	o.open()
	switch {
	case e.Log != nil:
		o.log(e)
	case e.Act != nil:
		o.act(e)
	case e.Connection != nil:
		o.connection(e, judge(e))
	default:
		o.exchange(e, judge(e))
	}
	o.close()
	return o.dst[:len(o.dst)-1]
}

func (o *object) exchange(e *Event, v verdict) {
	o.classification(e, v)
	o.metadata(e)
	o.control(e, v)
	o.request(e)
	o.response(e)
	o.endpoints(e)
	o.actor(e)
	o.trace(e)
	o.unmapped(e)
}

const classification = `"class_uid":4002,"class_name":"HTTP Activity","category_uid":4,"category_name":"Network Activity"`

func (o *object) classification(e *Event, v verdict) {
	o.raw(classification)
	if known, ok := activity(e.Method); ok {
		o.raw(known)
	} else {
		o.must(`"activity_id":99,"activity_name":"`, e.Method)
		o.raw(`"type_uid":400299`)
	}
	o.exact(`"time":`, e.Time.UnixMilli())
	o.raw(v.severity)
	o.raw(status(e))
	o.str(`"status_detail":"`, e.Problem)
	o.num(`"duration":`, e.Took.Milliseconds())
}

const metadata = `"metadata":{"version":"` + SchemaVersion + `","product":{"name":"Palisade","vendor_name":"Palisade"},"profiles":`

func (o *object) metadata(e *Event) {
	if e.TraceID != "" {
		o.raw(metadata + `["host","security_control","trace"]`)
	} else {
		o.raw(metadata + `["host","security_control"]`)
	}
	if e.Open { // the closing record takes the plain id
		o.must(`"uid":"`, e.ID)
		o.dst = append(o.dst[:len(o.dst)-len(`",`)], `:open",`...)
	} else {
		o.str(`"uid":"`, e.ID)
	}
	o.str(`"correlation_uid":"`, e.ID)
	o.close()
}

// control writes the security_control profile.
func (o *object) control(e *Event, v verdict) {
	if e.Allowed {
		o.raw(`"action_id":1,"action":"Allowed"`)
	} else {
		o.raw(`"action_id":2,"action":"Denied"`)
	}
	o.raw(v.disposition)
	o.flag(`"is_alert":`, v.alert)
	if v.stage == nil {
		return
	}
	for i := range v.stage.Reasons {
		if r := &v.stage.Reasons[i]; r.Policy != "" {
			if inspects(v.stage) {
				o.nest(`"firewall_rule":`)
			} else {
				o.nest(`"policy":`)
			}
			o.must(`"uid":"`, r.Policy)
			o.str(`"desc":"`, r.Text)
			o.close()
			return
		}
	}
}

func (o *object) request(e *Event) {
	o.nest(`"http_request":`)
	o.str(`"uid":"`, e.ID)
	o.str(`"http_method":"`, e.Method)
	o.str(`"version":"`, e.Proto)
	o.nest(`"url":`)
	o.str(`"scheme":"`, e.Scheme)
	host, port := splitHost(e.Host)
	o.str(`"hostname":"`, host)
	o.num(`"port":`, int64(port))
	o.must(`"path":"`, e.Path)
	o.str(`"query_string":"`, e.Query)
	o.close()
	o.str(`"user_agent":"`, e.UserAgent)
	o.str(`"referrer":"`, e.Referer)
	o.exact(`"body_length":`, e.BytesIn)
	if len(e.Headers) > 0 {
		o.headers(`"http_headers":`, e.Headers)
	}
	o.close()
}

func (o *object) headers(name string, all []Header) {
	o.list(name)
	for _, h := range all {
		o.open()
		o.must(`"name":"`, h.Name)
		o.must(`"value":"`, h.Value)
		o.close()
	}
	o.endList()
}

func (o *object) response(e *Event) {
	if e.Status == 0 {
		return
	}
	o.nest(`"http_response":`)
	o.exact(`"code":`, int64(e.Status))
	o.num(`"latency":`, e.Took.Milliseconds())
	o.exact(`"body_length":`, e.BytesOut)
	o.close()
}

// endpoints writes who talked to whom. OCSF counts traffic as the client sees it: what it sent is out.
func (o *object) endpoints(e *Event) {
	if e.Client != "" {
		o.nest(`"src_endpoint":`)
		if _, err := netip.ParseAddr(e.Client); err == nil {
			o.must(`"ip":"`, e.Client)
		} else {
			o.must(`"name":"`, e.Client)
		}
		o.num(`"port":`, int64(e.ClientPort))
		o.close()
	}
	o.nest(`"dst_endpoint":`)
	host, port := splitHost(e.Host)
	o.raw(`"name":"palisade"`)
	o.str(`"hostname":"`, host)
	if e.Connection != nil {
		o.reached(e)
	}
	o.num(`"port":`, int64(port))
	o.str(`"svc_name":"`, e.Service)
	o.str(`"interface_name":"`, e.Listener)
	o.close()
	o.nest(`"traffic":`)
	o.exact(`"bytes_out":`, e.BytesIn)
	o.exact(`"bytes_in":`, e.BytesOut)
	o.exact(`"bytes":`, e.BytesIn+e.BytesOut)
	o.close()
	if e.TLSVersion != "" || e.TLSCipher != "" || e.TLSServer != "" {
		o.nest(`"tls":`)
		o.must(`"version":"`, e.TLSVersion)
		o.str(`"cipher":"`, e.TLSCipher)
		o.str(`"sni":"`, e.TLSServer)
		o.close()
	}
}

// The account types of OCSF's user object.
const (
	userTypePerson  = 1
	userTypeAdmin   = 2
	userTypeService = 4
)

// actor writes the user, or the workload where there is no user.
func (o *object) actor(e *Event) {
	switch {
	case e.User != nil:
		u := e.User
		o.nest(`"actor":`)
		o.nest(`"user":`)
		o.must(`"uid":"`, u.Subject)
		o.exact(`"type_id":`, userTypePerson)
		o.str(`"credential_uid":"`, u.TokenID)
		if len(u.Roles) > 0 {
			o.list(`"groups":`)
			for _, r := range u.Roles {
				o.open()
				o.must(`"name":"`, r)
				o.close()
			}
			o.endList()
		}
		o.close()
		o.nest(`"idp":`)
		o.must(`"name":"`, u.Provider)
		o.str(`"issuer":"`, u.Issuer)
		o.close()
		o.str(`"app_uid":"`, u.ClientID)
		o.close()
	case e.Workload != "":
		o.nest(`"actor":`)
		o.nest(`"user":`)
		o.must(`"uid":"`, e.Workload)
		o.exact(`"type_id":`, userTypeService)
		o.close()
		o.close()
	}
}

func (o *object) trace(e *Event) {
	if e.TraceID == "" {
		return
	}
	o.nest(`"trace":`)
	o.must(`"uid":"`, e.TraceID)
	if e.SpanID != "" {
		o.nest(`"span":`)
		o.must(`"uid":"`, e.SpanID)
		o.exact(`"start_time":`, e.Time.UnixMilli())
		o.exact(`"end_time":`, e.Time.Add(e.Took).UnixMilli())
		o.close()
	}
	o.close()
}

// unmapped writes what has no place in OCSF and what would not come back exactly from where it stands.
func (o *object) unmapped(e *Event) {
	o.nest(`"unmapped":`)
	o.num(`"time_ns":`, int64(e.Time.Nanosecond()%nanosPerMilli))
	o.num(`"took_ns":`, int64(e.Took))
	o.str(`"fleet":"`, e.Fleet)
	o.str(`"snapshot":"`, e.Snapshot)
	o.str(`"route":"`, e.Route)
	o.str(`"template":"`, e.Template)
	if strings.Contains(e.Host, ":") {
		o.must(`"host":"`, e.Host)
	}
	if e.Client == "" {
		o.num(`"client_port":`, int64(e.ClientPort))
	}
	if e.TraceID == "" {
		o.str(`"span":"`, e.SpanID)
	}
	o.str(`"peer":"`, e.Peer)
	o.str(`"tls_group":"`, e.TLSGroup)
	o.str(`"workload":"`, e.Workload)
	if e.User != nil && e.User.Attributes != nil {
		o.dst = append(o.dst, `"user":`...)
		o.attributes(e.User.Attributes)
	}
	if e.Side != SideUnknown {
		o.must(`"side":"`, e.Side.String())
	}
	o.flag(`"open":`, e.Open)
	o.flag(`"dry_run":`, e.DryRun)
	o.flag(`"drift":`, e.Drift)
	o.str(`"aborted":"`, e.Aborted)
	if e.Upstream != "" || e.Attempts != 0 || e.UpstreamStatus != 0 || e.UpstreamTook != 0 || e.UpstreamReused {
		o.nest(`"upstream":`)
		o.str(`"address":"`, e.Upstream)
		o.num(`"status":`, int64(e.UpstreamStatus))
		o.num(`"took_ns":`, int64(e.UpstreamTook))
		o.flag(`"reused":`, e.UpstreamReused)
		o.num(`"attempts":`, int64(e.Attempts))
		o.close()
	}
	if c := e.Connection; c != nil {
		o.nest(`"connection":`)
		o.must(`"side":"`, c.Side.String())
		o.str(`"protocol":"`, c.Protocol)
		o.close()
	}
	if len(e.Trail) > 0 {
		o.trail(e.Trail)
	}
	o.close()
}

func (o *object) trail(stages []Stage) {
	o.list(`"trail":`)
	for i := range stages {
		o.stage(&stages[i])
	}
	o.endList()
}

// AppendTrail appends a trail as it stands in AppendJSON's output, but for the times that stages took: without them most
// trails are the same.
func AppendTrail(dst []byte, stages []Stage) []byte {
	o := &object{dst: append(dst, '[')}
	for i := range stages {
		s := stages[i]
		s.Took = 0
		o.stage(&s)
	}
	o.endList()
	return o.dst[:len(o.dst)-1]
}

func (o *object) stage(s *Stage) {
	o.open()
	o.must(`"name":"`, s.Name)
	o.must(`"outcome":"`, s.Outcome.String())
	o.flag(`"dry_run":`, s.DryRun)
	o.num(`"took":`, int64(s.Took))
	if len(s.Reasons) > 0 {
		o.list(`"reasons":`)
		for j := range s.Reasons {
			o.reason(&s.Reasons[j])
		}
		o.endList()
	}
	o.close()
}

func (o *object) reason(r *Reason) {
	o.open()
	o.must(`"code":"`, r.Code)
	o.str(`"text":"`, r.Text)
	o.str(`"policy":"`, r.Policy)
	o.str(`"position":"`, r.Position)
	if len(r.Data) > 0 {
		o.nest(`"data":`)
		o.members(r.Data)
		o.close()
	}
	o.close()
}

// splitHost takes a port off a host; 0 if there is none.
func splitHost(host string) (string, int) {
	name, digits, ok := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		name, digits, ok = strings.Cut(host, "]:")
		name = strings.Trim(name, "[]")
	}
	if !ok {
		return name, 0
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return name, 0
	}
	return name, int(port)
}
