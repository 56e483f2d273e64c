package model

// Export is a server to which events go as they are recorded, beside the record. Which keys there are depends on its kind.
type Export struct {
	Kind        string           `yaml:"kind" json:"kind" enum:"otlp,elastic,loki,datadog,splunk,syslog,kafka,s3"`     // what the server speaks: otlp, elastic (also OpenSearch), loki, datadog, splunk (HEC), syslog (RFC 5424), kafka, s3 (object storage)
	URL         string           `yaml:"url" json:"url"`                                                               // where it is: https://host:port; for otlp also grpcs://host:port, for syslog and kafka tls://host:port or tcp://host:port
	Where       string           `yaml:"where,omitempty" json:"where,omitzero"`                                        // only events that this query means, as "palisade events" takes it; default all
	User        string           `yaml:"user,omitempty" json:"user,omitzero"`                                          // of elastic, loki and kafka: signs in, with password; of s3: access key id
	Password    Value            `yaml:"password,omitempty" json:"password,omitzero"`                                  // reference: {from_env: NAME} or {from_file: PATH}; of s3: secret access key
	Token       Value            `yaml:"token,omitempty" json:"token,omitzero"`                                        // reference to the API key (elastic, datadog), bearer token (loki) or token of the collector (splunk)
	Headers     map[string]Value `yaml:"headers,omitempty" json:"headers,omitzero"`                                    // of otlp: sent with each request
	Index       string           `yaml:"index,omitempty" json:"index,omitzero"`                                        // of elastic: index or data stream, default logs-palisade.events-default; of splunk: default that of the token
	Topic       string           `yaml:"topic,omitempty" json:"topic,omitzero"`                                        // of kafka: where events go; it must be there
	SASL        string           `yaml:"sasl,omitempty" json:"sasl,omitzero" enum:"scram-sha-512,scram-sha-256,plain"` // of kafka: how user signs in; default scram-sha-512
	Bucket      string           `yaml:"bucket,omitempty" json:"bucket,omitzero"`                                      // of s3: where objects go; it must be there
	Prefix      string           `yaml:"prefix,omitempty" json:"prefix,omitzero"`                                      // of s3: before the names of all objects, a slash between; default none
	Region      string           `yaml:"region,omitempty" json:"region,omitzero"`                                      // of s3: default that of the URL at Amazon, else us-east-1
	Format      string           `yaml:"format,omitempty" json:"format,omitzero" enum:"jsonl,parquet"`                 // of s3: JSON lines with gzip, or Parquet; default jsonl
	Tenant      string           `yaml:"tenant,omitempty" json:"tenant,omitzero"`                                      // of loki: X-Scope-OrgID; default none
	CA          string           `yaml:"ca,omitempty" json:"ca,omitzero"`                                              // PEM roots of the server's certificate; default the system's
	Certificate *Certificate     `yaml:"certificate,omitempty" json:"certificate,omitzero"`                            // shown to the server; default none
}
