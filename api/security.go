package api

import "github.com/danielgtaylor/huma/v2"

// Names of the security schemes in the OpenAPI document.
const (
	schemeBearer = "bearer" // a person's access token
	schemeSensor = "sensor" // a sensor's secret_key
	schemeTicket = "ticket" // a ticket in the query: for the operation itself to judge
	schemeResume = "resume" // and a token to come back with

	schemeOperator = "operator" // having reached the control socket; see operator.go
)

// requirement is an operation's Security: alternatives, one of which must be met. An empty list (not nil) says public; an alternative
// without schemes says that nobody needs to be known.
type requirement = []map[string][]string

func public() requirement    { return requirement{} }
func person() requirement    { return requirement{{schemeBearer: {}}} }
func anybody() requirement   { return requirement{{schemeBearer: {}}, {}} } // public, but a good token says who
func itsSensor() requirement { return requirement{{schemeSensor: {}}} }
func operator() requirement  { return requirement{{schemeOperator: {}}} }

// administration is for people, of whom the operation itself finds the admins, and for the operator.
func administration() requirement { return requirement{{schemeBearer: {}}, {schemeOperator: {}}} }

func viewer() requirement {
	return requirement{{schemeBearer: {}}, {schemeTicket: {}}, {schemeResume: {}}}
}

// allows reports whether one of the alternatives is the scheme.
func allows(r requirement, scheme string) bool {
	for _, alternative := range r {
		if _, ok := alternative[scheme]; ok {
			return true
		}
	}
	return false
}

// isPublic reports whether a request may come without any credential.
func isPublic(r requirement) bool {
	if r == nil {
		return false
	}
	for _, alternative := range r {
		if len(alternative) == 0 {
			return true
		}
	}
	return len(r) == 0
}

func securitySchemes() map[string]*huma.SecurityScheme {
	return map[string]*huma.SecurityScheme{
		schemeBearer: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A person's access token, from /auth/login"},
		schemeSensor: {Type: "http", Scheme: "bearer", Description: "The sensor's own secret_key"},
		schemeTicket: {Type: "apiKey", In: "query", Name: schemeTicket, Description: "A ticket, from /tickets: single use"},
		schemeResume: {Type: "apiKey", In: "query", Name: schemeResume, Description: "A token of a resume event: single use"},
		schemeOperator: {Type: "apiKey", In: "header", Name: headerAs, Description: "On the server's control socket, which only who may open its files can reach: " +
			"nothing, or the person in whose name"},
	}
}
