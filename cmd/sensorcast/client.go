package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// client speaks the REST interface for the sub-commands, as any script would.
type client struct {
	base  *url.URL
	token string
	as    string // on the control socket: in whose name
	http  http.Client
}

const (
	clientTimeout = 30 * time.Second
	maxReplyBytes = 4 << 20
)

// csv is a body that is not JSON.
type csv []byte

func newClient(base string) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--url %q is not a URL such as http://127.0.0.1:8080", base)
	}
	return &client{base: u, http: http.Client{Timeout: clientTimeout}}, nil
}

// post sends body as JSON to a path below /api/v1 and reads the reply into result. A refusal becomes an error with the server's words.
func (c *client) post(ctx context.Context, path string, body, result any) error {
	return c.call(ctx, http.MethodPost, path, body, result)
}

// call is post with any method. The path is escaped and may have a query; a nil body is none, and nobody reads the reply into a nil result.
func (c *client) call(ctx context.Context, method, path string, body, result any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if result == nil {
		return nil
	}
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReplyBytes))
	if err != nil {
		return fmt.Errorf("read reply: %w", err)
	}
	if err := json.Unmarshal(reply, result); err != nil {
		return fmt.Errorf("read reply: %w", err)
	}
	return nil
}

// send makes the request and returns the reply of a server that did not refuse it.
func (c *client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	content, mediaType, err := encode(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.base.String(), "/")+"/api/v1/"+path, content)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	for name, value := range map[string]string{"Content-Type": mediaType, "Sensorcast-As": c.as} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	refused := &statusError{status: resp.StatusCode}
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReplyBytes))
	if err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	_ = json.Unmarshal(reply, refused) // a proxy's error page has nothing of it
	return nil, refused
}

func encode(body any) (content io.Reader, mediaType string, err error) {
	switch body := body.(type) {
	case nil:
		return nil, "", nil
	case csv:
		return bytes.NewReader(body), "text/csv", nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, "", fmt.Errorf("encode request: %w", err)
	}
	return bytes.NewReader(text), "application/json", nil
}

// statusError is a refusal by the server.
type statusError struct {
	status int
	Type   string
	Title  string
	Detail string
	Errors []struct{ Location, Message string }
}

// Error names the status and the server's own words: each field that is at fault, or what is wrong altogether.
func (e *statusError) Error() string {
	faults := make([]string, len(e.Errors))
	for i, fault := range e.Errors {
		faults[i] = strings.TrimPrefix(fault.Location, "body.") + ": " + fault.Message
	}
	words := e.Title + ": " + cmp.Or(strings.Join(faults, "; "), e.Detail)
	return fmt.Sprintf("server answered %d %s", e.status, strings.Trim(words, ": "))
}

// login gives the client its token: SENSORCAST_TOKEN, or a prompt for name and password where there is a terminal.
func (c *client) login(ctx context.Context) error {
	if c.token = os.Getenv("SENSORCAST_TOKEN"); c.token != "" {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("set SENSORCAST_TOKEN to an API token or an access token, or run in a terminal to sign in")
	}
	var name string
	fmt.Fprintf(os.Stderr, "User name or e-mail at %s: ", c.base.Host)
	if _, err := fmt.Fscanln(os.Stdin, &name); err != nil {
		return fmt.Errorf("read user name: %w", err)
	}
	password, err := promptPassword("Password: ")
	if err != nil {
		return err
	}
	err = c.signIn(ctx, name, password, "")
	if refused, ok := errors.AsType[*statusError](err); ok && strings.HasSuffix(refused.Type, "/second-factor-required") {
		code, err := promptPassword("Code of your second factor: ")
		if err != nil {
			return err
		}
		return c.signIn(ctx, name, password, code)
	}
	return err
}

// signIn trades name and password, and a code where there is a second factor, for an access token.
func (c *client) signIn(ctx context.Context, name, password, code string) error {
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	body := fields{"login": name, "password": password}
	body.maybe("code", code)
	if err := c.post(ctx, "auth/login", body, &grant); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	c.token = grant.AccessToken
	return nil
}
