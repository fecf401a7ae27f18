package main

import (
	"os"

	"sensorcast/api"
)

type openapiCommand struct{}

// Run prints the description that a running server gives at /openapi.json.
func (openapiCommand) Run() error {
	text, err := api.New(api.Config{Version: versionString()}, api.Deps{}).OpenAPI()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(text, '\n'))
	return err
}
