package api

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"go.yaml.in/yaml/v3"
)

// paths is testdata/paths.txt: what contract.md §3 promises of this package. Clients are written against it.
func contractPaths(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/paths.txt")
	must(t, err)
	return strings.Fields(strings.ReplaceAll(string(b), "\n", " "))
}

type document struct {
	OpenAPI    string                                `json:"openapi" yaml:"openapi"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

func TestOpenAPI_HasTheContractsPathsAndNothingElse(t *testing.T) {
	h := newHouse(t)
	a := h.call("GET", "/openapi.json", "", nil).want(http.StatusOK)
	var doc document
	a.into(&doc)
	if doc.OpenAPI != "3.1.0" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("got OpenAPI %q as %s, want 3.1.0 as application/json", doc.OpenAPI, a.header.Get("Content-Type"))
	}
	var got []string
	for path, methods := range doc.Paths {
		for method := range methods {
			got = append(got, strings.ToUpper(method)+":"+path)
		}
	}
	want := contractPaths(t)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var fields []string
	for field := range doc.Components.Schemas["Sensor"].Properties {
		fields = append(fields, field)
	}
	if slices.Sort(fields); !slices.Equal(fields, slices.Sorted(slices.Values(sensorFields))) {
		t.Errorf("got sensor fields %v, want %v", fields, sensorFields)
	}
	copied, err := h.api.OpenAPI()
	must(t, err)
	if string(copied) != string(a.body) {
		t.Errorf("OpenAPI() and /openapi.json differ")
	}
}

func TestOpenAPI_YAMLSaysTheSame(t *testing.T) {
	h := newHouse(t)
	a := h.call("GET", "/openapi.yaml", "", nil).want(http.StatusOK)
	var fromYAML, fromJSON map[string]any
	must(t, yaml.Unmarshal(a.body, &fromYAML))
	h.call("GET", "/openapi.json", "", nil).into(&fromJSON)
	y, err := json.Marshal(fromYAML)
	must(t, err)
	j, err := json.Marshal(fromJSON)
	must(t, err)
	if string(y) != string(j) {
		t.Errorf("got\n%.2000s\nwant\n%.2000s", y, j)
	}
}

// operations walks the document.
func operations(a *API, visit func(op *huma.Operation)) {
	for _, item := range a.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete, item.Head, item.Options, item.Trace} {
			if op != nil {
				visit(op)
			}
		}
	}
}

func TestOpenAPI_EveryOperationStatesItsSecurity(t *testing.T) {
	a := New(Config{}, Deps{})
	public := []string{
		"register", "login", "refresh", "logout", "verify", "confirm-email", "request-password-reset", "reset-password", "create-device-ticket", "get-server", "health", "readiness",
	}
	operations(a, func(op *huma.Operation) {
		if op.Security == nil {
			t.Errorf("%s states no security", op.OperationID)
		}
		if got, want := isPublic(op.Security), slices.Contains(public, op.OperationID); got != want {
			t.Errorf("%s: got public %v, want %v", op.OperationID, got, want)
		}
		if op.Summary == "" || len(op.Tags) != 1 {
			t.Errorf("%s: wants a summary and a tag", op.OperationID)
		}
	})
}

func TestHandle_RefusesAnOperationWithoutSecurity(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Errorf("an operation that states no security was registered")
		}
	}()
	handle(New(Config{}, Deps{}), huma.Operation{OperationID: "forgotten", Method: "GET", Path: "/forgotten"}, (&API{}).healthy)
}

// Should one slip in past handle, the guard still refuses it.
func TestGuard_ClosesAnOperationWithoutSecurity(t *testing.T) {
	h := newHouse(t)
	huma.Register(h.api.huma, huma.Operation{OperationID: "forgotten", Method: "GET", Path: "/forgotten"}, h.api.healthy)
	h.call("GET", "/forgotten", "", nil).wantProblem(http.StatusUnauthorized, "unauthenticated")
	h.call("GET", "/forgotten", h.person("ada").access, nil).want(http.StatusUnauthorized)
}

// Package auth asks again, but the guard alone keeps others out, before anything is read.
func TestGuard_AdminsOnlyMeansSo(t *testing.T) {
	h := newHouse(t)
	huma.Register(h.api.huma, huma.Operation{OperationID: "forgotten", Method: "GET", Path: "/forgotten", Security: admin()}, h.api.healthy)
	h.call("GET", "/forgotten", h.person("ada").access, nil).want(http.StatusOK)
	h.call("GET", "/forgotten", h.person("bob").access, nil).wantProblem(http.StatusForbidden, "forbidden")
	h.call("GET", "/forgotten", "", nil).wantProblem(http.StatusUnauthorized, "unauthenticated")
}
