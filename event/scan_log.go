package event

// scanned reads a log record as AppendJSON writes it. It reports false for anything else, which may nevertheless be one.
func (w *wireLog) scanned(b []byte) bool {
	p := &scan{s: string(b)} // all texts are parts of it
	p.open("{")
	p.need(logClassification)
	exact(p, `"time":`, &w.Time)
	p.skipNum(`"severity_id":`)
	p.skip(`"severity":"`)
	p.str(`"message":"`, &w.Message)
	p.open(`"metadata":{`)
	p.need(`"version":"` + SchemaVersion + `","product":{"name":"Palisade","vendor_name":"Palisade"}`)
	m := &w.Metadata
	m.Version = SchemaVersion
	p.str(`"log_name":"`, &m.Name)
	p.str(`"log_provider":"`, &m.Provider)
	p.str(`"log_level":"`, &m.Level)
	if p.key(`"logged_time":`) {
		at := p.int()
		m.Logged = &at
	}
	p.str(`"original_time":"`, &m.Original)
	p.str(`"uid":"`, &m.UID)
	p.str(`"correlation_uid":"`, new(string))
	p.close()
	w.scanUnmapped(p)
	p.close()
	return p.done()
}

func (w *wireLog) scanUnmapped(p *scan) {
	u := &w.Unmapped
	p.open(`"unmapped":{`)
	num(p, `"time_ns":`, &u.TimeNS)
	p.str(`"fleet":"`, &u.Fleet)
	p.str(`"snapshot":"`, &u.Snapshot)
	p.open(`"log":{`)
	l := &wireRecord{}
	u.Log = l
	p.str(`"trace":"`, &l.Trace)
	p.str(`"span":"`, &l.Span)
	p.str(`"host":"`, &l.Host)
	p.str(`"client":"`, &l.Client)
	num(p, `"client_port":`, &l.ClientPort)
	p.str(`"workload":"`, &l.Workload)
	p.str(`"form":"`, &l.Form)
	var severity int64
	if num(p, `"severity":`, &severity); severity != int64(Severity(severity)) {
		p.failed = true
	}
	l.Severity = Severity(severity)
	num(p, `"observed_ns":`, &l.ObservedNS)
	num(p, `"omitted":`, &l.Omitted)
	if p.nest(`"attributes":{`) {
		l.Attributes = p.members()
	}
	p.close()
	p.close()
}
