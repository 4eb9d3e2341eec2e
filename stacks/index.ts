import { program } from "../components/program";
import { services } from "./services";

/** What `pulumi up` by hand runs. */
export = program({ services });
