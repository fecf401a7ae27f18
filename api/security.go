package api

import (
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
)

// Names of the security schemes in the OpenAPI document.
const (
	schemeBearer = "bearer" // a person's access token
	schemeToken  = "token"  // a person's API token, with the scope it needs
	schemeSensor = "sensor" // a sensor's secret_key
	schemeTicket = "ticket" // a ticket in the query: for the operation itself to judge
	schemeResume = "resume" // and a token to come back with

	schemeOperator = "operator" // having reached the control socket; see operator.go
)

// requirement is an operation's Security: alternatives, one of which must be met. An empty list (not nil) says public; an alternative
// without schemes says that nobody needs to be known. API tokens open only what names their scheme: what concerns the account itself, person()
// says, they do not.
type requirement = []map[string][]string

func public() requirement    { return requirement{} }
func person() requirement    { return requirement{{schemeBearer: {}}} }
func reader() requirement    { return requirement{{schemeBearer: {}}, {schemeToken: {auth.ScopeRead}}} }
func writer() requirement    { return requirement{{schemeBearer: {}}, {schemeToken: {auth.ScopeWrite}}} }
func admin() requirement     { return requirement{{schemeBearer: {roleAdmin}}, {schemeOperator: {}}} }
func anybody() requirement   { return requirement{{schemeBearer: {}}, {}} } // public, but a good token says who
func itsSensor() requirement { return requirement{{schemeSensor: {}}} }
func operator() requirement  { return requirement{{schemeOperator: {}}} }

// personOrOperator is for people, who are answered as far as it concerns them, and for the operator.
func personOrOperator() requirement { return requirement{{schemeBearer: {}}, {schemeOperator: {}}} }

func viewer() requirement {
	return append(reader(), requirement{{schemeTicket: {}}, {schemeResume: {}}}...)
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

// scopeOf returns the scope an API token needs for the operation; empty: no API token will do.
func scopeOf(r requirement) string {
	for _, alternative := range r {
		if scopes := alternative[schemeToken]; len(scopes) > 0 {
			return scopes[0]
		}
	}
	return ""
}

// roleAdmin stands beside a scheme whose bearer must be an admin too (OpenAPI 3.1 §4.8.30.1: role names may).
const roleAdmin = string(auth.RoleAdmin)

// needsAdmin reports whether the scheme is allowed to admins only.
func needsAdmin(r requirement) bool {
	for _, alternative := range r {
		if slices.Contains(alternative[schemeBearer], roleAdmin) {
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
		schemeToken:  {Type: "http", Scheme: "bearer", Description: "A person's API token, from /users/me/tokens, with the scope listed; write includes read"},
		schemeSensor: {Type: "http", Scheme: "bearer", Description: "The sensor's own secret_key"},
		schemeTicket: {Type: "apiKey", In: "query", Name: schemeTicket, Description: "A ticket, from /tickets: single use"},
		schemeResume: {Type: "apiKey", In: "query", Name: schemeResume, Description: "A token of a resume event: single use"},
		schemeOperator: {Type: "apiKey", In: "header", Name: headerAs, Description: "On the server's control socket, which only who may open its files can reach: " +
			"nothing, or the person in whose name"},
	}
}
