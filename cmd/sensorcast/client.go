package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	http  http.Client
}

const maxReplyBytes = 4 << 20

func newClient(base string) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--url %q is not a URL such as http://127.0.0.1:8080", base)
	}
	return &client{base: u, http: http.Client{Timeout: 30 * time.Second}}, nil
}

// post sends body as JSON to a path below /api/v1 and reads the reply into result. A refusal becomes an error with the server's words.
func (c *client) post(ctx context.Context, path string, body, result any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("/api/v1", path).String(), bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReplyBytes))
	if err != nil {
		return fmt.Errorf("read reply: %w", err)
	}
	if resp.StatusCode >= 300 {
		var problem struct{ Title, Detail string }
		_ = json.Unmarshal(reply, &problem) // a proxy's error page has neither
		return &statusError{status: resp.StatusCode, detail: strings.TrimSpace(problem.Title + ": " + problem.Detail)}
	}
	if err := json.Unmarshal(reply, result); err != nil {
		return fmt.Errorf("read reply: %w", err)
	}
	return nil
}

// statusError is a refusal by the server.
type statusError struct {
	status int
	detail string
}

// Error names the status and the server's own words.
func (e *statusError) Error() string {
	return fmt.Sprintf("server answered %d %s", e.status, strings.Trim(e.detail, ": "))
}

// login gives the client its token: SENSORCAST_TOKEN, or a prompt for name and password where there is a terminal.
func (c *client) login(ctx context.Context) error {
	if c.token = os.Getenv("SENSORCAST_TOKEN"); c.token != "" {
		return nil
	}
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return fmt.Errorf("set SENSORCAST_TOKEN to an API token or an access token, or run in a terminal to sign in")
	}
	var name string
	fmt.Fprintf(os.Stderr, "User name or e-mail at %s: ", c.base.Host)
	if _, err := fmt.Fscanln(os.Stdin, &name); err != nil {
		return fmt.Errorf("read user name: %w", err)
	}
	fmt.Fprint(os.Stderr, "Password: ")
	password, err := term.ReadPassword(stdin)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	return c.signIn(ctx, name, string(password))
}

// signIn trades name and password for an access token.
func (c *client) signIn(ctx context.Context, name, password string) error {
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	if err := c.post(ctx, "auth/login", map[string]string{"login": name, "password": password}, &grant); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	c.token = grant.AccessToken
	return nil
}
