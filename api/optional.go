package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// change is a field of a PATCH body: absent leaves what is there, null resets it (RFC 7396), a value replaces it.
type change[T any] struct {
	given bool
	value T // the zero value for null
}

// Schema is that of T, or null.
func (change[T]) Schema(r huma.Registry) *huma.Schema {
	s := *r.Schema(reflect.TypeFor[T](), true, "")
	if s.Ref != "" {
		return &huma.Schema{OneOf: []*huma.Schema{&s, {Type: "null"}}} // huma cannot say it of an object
	}
	s.Nullable = true
	return &s
}

// UnmarshalJSON notes that the field was there.
func (c *change[T]) UnmarshalJSON(b []byte) error {
	c.given = true
	return json.Unmarshal(b, &c.value)
}

// apply writes the new value to field when one was given.
func (c change[T]) apply(field *T) {
	if c.given {
		*field = c.value
	}
}

// pointer returns nil when nothing was given.
func (c change[T]) pointer() *T {
	if !c.given {
		return nil
	}
	return &c.value
}

// nullable returns nil for the empty string: "" and null must not both mean "none" in answers.
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// parameter is a query parameter whose absence means something else than its zero value.
type parameter[T any] struct {
	value T
	given bool
}

// Schema is that of T.
func (parameter[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// Receiver is where huma puts the value.
func (p *parameter[T]) Receiver() reflect.Value { return reflect.ValueOf(&p.value).Elem() }

// OnParamSet is how huma says whether there was one.
func (p *parameter[T]) OnParamSet(given bool, _ any) { p.given = given }
