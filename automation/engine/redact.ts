export { createRedactor, type Redactor } from "../../components/redact";
