package waf

import (
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// baseDirectives is what an engine needs before the rule set: the recommended configuration, the rules of it
// that the rule set's module does not carry yet (200004, 200005, 200009), and nothing that writes or logs.
const baseDirectives = `Include @coraza.conf-recommended
SecRuleEngine On
SecRxPreFilter Off
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecRequestBodyJsonDepthLimit 128
SecArgumentsLimit 1000
SecAuditEngine Off
SecUploadKeepFiles Off
SecRule URI_PARSE_ERROR "@eq 1" "id:200009,phase:1,t:none,log,deny,status:400,severity:2,msg:'The URI cannot be parsed.'"
SecRule ARGUMENTS_LIMIT_REACHED "@eq 1" "id:200004,phase:1,t:none,log,deny,status:400,severity:2,msg:'Too many arguments in the query.'"
SecRule ARGUMENTS_LIMIT_REACHED "@eq 1" "id:200005,phase:2,t:none,log,deny,status:400,severity:2,msg:'Too many arguments in the body.'"
Include @crs-setup.conf.example
`

// answerDirectives make the engine look at answers of the types that carry text. The limit is never reached: the
// filter's own bound is lower.
const answerDirectives = `SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml application/json application/xml application/problem+json
SecResponseBodyLimit 67108865
SecResponseBodyLimitAction ProcessPartial
SecDefaultAction "phase:3,log,auditlog,pass"
SecDefaultAction "phase:4,log,auditlog,pass"
SecDefaultAction "phase:5,log,auditlog,pass"
`

// allowedMethods is wider than the rule set's own list: which methods a route takes is the router's to say.
const allowedMethods = "GET HEAD POST OPTIONS PUT PATCH DELETE"

// contentTypes returns what rule 920420 takes: the rule set's own list and what APIs use beside it.
func contentTypes() string {
	var b strings.Builder
	for i, t := range [...]string{
		"application/x-www-form-urlencoded", "multipart/form-data", "multipart/related",
		"text/xml", "application/xml", "application/soap+xml",
		"application/json", "application/problem+json", "application/json-patch+json",
		"application/merge-patch+json", "application/vnd.api+json", "application/ld+json",
		"application/cloudevents+json", "application/cloudevents-batch+json",
		"application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpc-web+proto",
	} {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("|" + t + "|")
	}
	return b.String()
}

// writeSetup writes the rule set's own settings (crs-setup.conf). Ids 900000-900999 are reserved for them.
func writeSetup(b *strings.Builder, w model.WAF) {
	skip := 1
	if inspectsAnswers(w) {
		skip = 0
	}
	fmt.Fprintf(b, `SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=%[1]d,setvar:tx.detection_paranoia_level=%[1]d"
SecAction "id:900110,phase:1,pass,t:none,nolog,setvar:tx.inbound_anomaly_score_threshold=%[2]d"
SecAction "id:900115,phase:1,pass,t:none,nolog,setvar:tx.reporting_level=0,setvar:tx.early_blocking=0,setvar:tx.crs_skip_response_analysis=%[5]d"
SecAction "id:900200,phase:1,pass,t:none,nolog,setvar:'tx.allowed_methods=%[3]s'"
SecAction "id:900220,phase:1,pass,t:none,nolog,setvar:'tx.allowed_request_content_type=%[4]s'"
`, w.Paranoia, w.Threshold, allowedMethods, contentTypes(), skip)
}

// exclusionDirective takes rules, or one target of them, out. It relies on Check having passed x.
func exclusionDirective(x model.Exclusion) string {
	switch {
	case x.Rule != 0 && x.Target == "":
		return fmt.Sprintf("SecRuleRemoveById %d\n", x.Rule)
	case x.Rule != 0:
		return fmt.Sprintf("SecRuleUpdateTargetById %d \"!%s\"\n", x.Rule, x.Target)
	case x.Target == "":
		return fmt.Sprintf("SecRuleRemoveByTag \"%s\"\n", x.Tag)
	}
	return fmt.Sprintf("SecRuleUpdateTargetByTag \"%s\" \"!%s\"\n", x.Tag, x.Target)
}
