package model

import "time"

// Defaults that Compile fills in. The types name them where they apply.
const (
	DefaultAdmin = "127.0.0.1:9900"

	DefaultHeaderTimeout   = Duration(5 * time.Second)
	DefaultBodyTimeout     = Duration(30 * time.Second)
	DefaultIdleTimeout     = Duration(60 * time.Second)
	DefaultTunnelTimeout   = Duration(time.Hour)
	DefaultWriteTimeout    = Duration(30 * time.Second)
	DefaultUpstreamTimeout = Duration(30 * time.Second)
	DefaultConnectTimeout  = Duration(2 * time.Second)
	DefaultDrainTimeout    = Duration(20 * time.Second)

	DefaultHeaderSize  = Size(32 << 10)
	DefaultHeaders     = 100
	DefaultTargetSize  = Size(8 << 10)
	DefaultBodySize    = Size(1 << 20)
	DefaultConnections = 10000
	DefaultPerAddress  = 256
	DefaultRequests    = 2048
	DefaultPerService  = 512

	DefaultMinVersion = "1.2"
	DefaultHSTS       = Duration(365 * 24 * time.Hour)

	DefaultRolesClaim = "roles"
	DefaultType       = "at+jwt"
	DefaultSkew       = Duration(30 * time.Second)
	MaxSkew           = Duration(2 * time.Minute)

	DefaultUpstreamConnections = 64
	DefaultRetries             = 1

	DefaultIPv6Prefix = 64

	DefaultWAFMode   = "block"
	DefaultParanoia  = 1
	DefaultThreshold = 5

	DefaultDepth = 32
	DefaultKeys  = 1000
	DefaultItems = 10000

	DefaultAuditMode = "best-effort"
	DefaultAuditKeep = Size(1 << 30)
	DefaultShapes    = "requests"
	DefaultAuditDisk = Size(10 << 30) // of audit.bucket

	DefaultRetain     = Duration(30 * 24 * time.Hour)
	DefaultRetainActs = Duration(400 * 24 * time.Hour)
	DefaultRetainMaps = Duration(400 * 24 * time.Hour)

	DefaultSample = 0.1

	DefaultIntakeBody    = Size(1 << 20)
	DefaultIntakeRecord  = Size(64 << 10)
	DefaultIntakeFormat  = "lines"
	DefaultSourceRecords = 1000          // a second
	DefaultSourceBytes   = Size(1 << 20) // a second

	DefaultSVIDLifetime = Duration(time.Hour)
	DefaultJWTLifetime  = Duration(5 * time.Minute)
	DefaultStale        = "stop"
	DefaultIsolation    = "namespace"
	DefaultControl      = "127.0.0.1:9950"
	DefaultBusPort      = "4222" // NATS'
	DefaultJoin         = Duration(24 * time.Hour)
	DefaultGrace        = Duration(72 * time.Hour)
	DefaultAPIServer    = "https://kubernetes.default.svc"
	DefaultProfile      = "web"
	DefaultEgress       = "tls"
	DefaultMeshBody     = Size(1 << 30) // of requests between services that nothing has to read whole

	// DevelopmentIssuer signs the tokens of "palisade token" unless the provider names another issuer. The name
	// is reserved (RFC 2606) and can never be resolved.
	DevelopmentIssuer = "https://development.palisade.invalid"
)

// DefaultAlgorithms are the signature algorithms a provider may use unless it names others.
func DefaultAlgorithms() []string { return []string{"ES256", "RS256", "PS256", "EdDSA"} }

// StandardMethods are the methods of a route that names none and whose grants name none.
func StandardMethods() []string { return []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} }

// or returns value unless it is zero.
func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
