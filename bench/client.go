package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// client speaks to Sensorcast's REST interface as the one account of a run.
type client struct {
	http  http.Client
	base  string // the server's address changes with each start
	token string
}

func (c *client) register(ctx context.Context) error {
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	err := c.post(ctx, "auth/register", map[string]string{
		"username": "bench", "email": "bench@example.com", "password": "correct horse battery", "first_name": "B", "last_name": "B",
	}, &grant)
	c.token = grant.AccessToken
	return err
}

func (c *client) post(ctx context.Context, path string, body, result any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(content))
	if err != nil {
		return err
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
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %s %s", path, resp.Status, reply)
	}
	return json.Unmarshal(reply, result)
}
