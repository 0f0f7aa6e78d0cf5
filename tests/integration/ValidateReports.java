import com.pixelmed.validate.DicomSRValidator;

/** PixelMed's DicomSRValidator over many files: it compiles its rules once, which takes longer than a file. */
public class ValidateReports {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("File: " + file);
            System.out.println(validator.validate(file));
        }
    }
}
