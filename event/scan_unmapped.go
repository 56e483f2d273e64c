package event

func (u *wireUnmapped) scan(p *scan) {
	p.open(`"unmapped":{`)
	num(p, `"time_ns":`, &u.TimeNS)
	num(p, `"took_ns":`, &u.Took)
	p.str(`"fleet":"`, &u.Fleet)
	p.str(`"snapshot":"`, &u.Snapshot)
	p.str(`"route":"`, &u.Route)
	p.str(`"template":"`, &u.Template)
	p.str(`"host":"`, &u.Host)
	num(p, `"client_port":`, &u.ClientPort)
	p.str(`"span":"`, &u.Span)
	p.str(`"peer":"`, &u.Peer)
	p.str(`"tls_group":"`, &u.TLSGroup)
	p.str(`"workload":"`, &u.Workload)
	if p.nest(`"user":{`) {
		u.User = &Attributes{}
		u.User.scan(p)
	}
	var side string
	if p.str(`"side":"`, &side) {
		u.Side = sideNamed(side)
	}
	u.Open = p.key(`"open":true`)
	u.DryRun = p.key(`"dry_run":true`)
	u.Drift = p.key(`"drift":true`)
	p.str(`"aborted":"`, &u.Aborted)
	if p.nest(`"upstream":{`) {
		p.str(`"address":"`, &u.Upstream.Address)
		num(p, `"status":`, &u.Upstream.Status)
		num(p, `"took_ns":`, &u.Upstream.Took)
		u.Upstream.Reused = p.key(`"reused":true`)
		num(p, `"attempts":`, &u.Upstream.Attempts)
		p.close()
	}
	if p.nest(`"connection":{`) {
		u.Connection = &wireConnection{}
		p.must(`"side":"`, &side)
		u.Connection.Side = sideNamed(side)
		p.str(`"protocol":"`, &u.Connection.Protocol)
		p.close()
	}
	if p.nest(`"trail":[`) {
		u.Trail = p.trail()
	}
	p.close()
}

// stages is room for the trail of an ordinary request.
const stages = 8

// trail reads the stages of a list that has begun.
func (p *scan) trail() []Stage {
	out := make([]Stage, 0, stages)
	for ok := true; ok; ok = p.more() {
		out = append(out, Stage{})
		s := &out[len(out)-1]
		p.open("{")
		p.must(`"name":"`, &s.Name)
		var outcome string
		p.must(`"outcome":"`, &outcome)
		s.Outcome = outcomeNamed(outcome)
		s.DryRun = p.key(`"dry_run":true`)
		num(p, `"took":`, &s.Took)
		if p.nest(`"reasons":[`) {
			for ok := true; ok; ok = p.more() {
				s.Reasons = append(s.Reasons, p.reason())
			}
			p.endList()
		}
		p.close()
	}
	p.endList()
	return out
}

func (p *scan) reason() (r Reason) {
	p.open("{")
	p.must(`"code":"`, &r.Code)
	p.str(`"text":"`, &r.Text)
	p.str(`"policy":"`, &r.Policy)
	p.str(`"position":"`, &r.Position)
	if p.nest(`"data":{`) {
		r.Data = p.members()
	}
	p.close()
	return r
}

// scan reads attributes whose object has begun, and its end.
func (a *Attributes) scan(p *scan) {
	if p.nest(`"scopes":[`) {
		a.Scopes = p.list()
	}
	p.str(`"acr":"`, &a.ACR)
	if p.nest(`"amr":[`) {
		a.AMR = p.list()
	}
	if p.key(`"auth_time":"`) {
		from := p.i - 1
		_ = p.text()
		if a.AuthTime.UnmarshalJSON([]byte(p.s[from:p.i])) != nil {
			p.failed = true
		}
	}
	if p.nest(`"claims":[`) {
		for ok := true; ok; ok = p.more() {
			a.Claims = append(a.Claims, p.claim())
		}
		p.endList()
	}
	if p.nest(`"cut":[`) {
		a.Cut = p.list()
	}
	p.close()
}

func (p *scan) claim() (c Claim) {
	p.open("{")
	p.must(`"name":"`, &c.Name)
	var s string
	switch {
	case p.str(`"value":"`, &s):
		c.Value = s
	case p.key(`"value":true`):
		c.Value = true
	case p.key(`"value":false`):
		c.Value = false
	case p.key(`"value":[]`):
		c.Value = []string{}
	case p.nest(`"value":[`):
		c.Value = p.list()
	case p.key(`"value":`):
		c.Value = p.int()
	}
	p.close()
	return c
}
