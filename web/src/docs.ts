/** The API page: Swagger UI reading our own /openapi.json; nothing leaves this server. */
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';
import './styles/docs.css';

SwaggerUI({
  url: '/openapi.json',
  domNode: document.getElementById('docs'),
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  // Null keeps it from sending the description to an outside validator.
  validatorUrl: null,
  tryItOutEnabled: false,
});
